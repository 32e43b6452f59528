"""Templates of AMDNLoc: corners of the CFR, sought in every link's; what they find is a class."""

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from raymark.benchmark import Labelled, Measurements
from raymark.radio import Panel

Tiles = Complex[np.ndarray, "link tile pixel"]
"""Tiles of each link's CFR, of norm 1, or of 0 where there is no signal."""
Templates = Complex[np.ndarray, "template 2 pixel"]
"""First and last tile of the CFR of some links."""

_ANTENNA_SHARE, _TONE_SHARE = 8, 4
"""A tile has an eighth of the antennas and a quarter of the tones: 8 by 16 of 64 by 64."""

_AT_ONCE = 128


def tiles_of(links: Measurements) -> Tiles:
    """Return the tiles of the measured CFR of links."""
    panel = links.sites[0].panel
    return np.concatenate([_cut(links.csi(at), panel) for at in _pieces(len(links))])


def tiles_of_training(train: Labelled) -> Tiles:
    """Return the tiles of the CFR of training links, without noise where channels are known."""
    channels, panel = train.channels, train.measurements.sites[0].panel
    if channels is None:
        return tiles_of(train.measurements)
    tiles = []
    for at in _pieces(len(train)):
        part = channels.take(at)
        clean = part.with_clean_csi().clean or ()
        csi = np.zeros((len(at), *clean[0].shape[1:]), dtype="c8")
        for i, values in enumerate(clean):
            mine = part.batch_index == i
            csi[mine] = values.cpu().numpy()[part.row[mine]]
        tiles.append(_cut(csi, panel))
    return np.concatenate(tiles)


def templates_of(tiles: Tiles) -> Templates:
    """Return the first and the last tile of each link: opposite corners of its CFR."""
    return tiles[:, [0, -1]]


def correlation(tiles: Tiles, templates: Templates) -> Float[np.ndarray, "link template 2"]:
    """Return the largest output of the matched filter of each template over the tiles of each link.

    Its magnitude, so that the phase which a delay or direction adds to a whole tile drops out; from
    tile to tile the phases between paths turn, so that some tile shows them as the template does.
    """
    filters = templates.reshape(-1, templates.shape[-1]).conj().T
    found = [np.abs(tiles[at] @ filters).max(axis=1) for at in _pieces(len(tiles))]
    return np.concatenate(found).reshape(len(tiles), len(templates), 2)


def best_template(tiles: Tiles, templates: Templates) -> Int[np.ndarray, "link"]:
    """Return the template whose worse corner each link matches best."""
    pieces = _pieces(len(tiles))
    return np.concatenate([correlation(tiles[at], templates).min(-1).argmax(-1) for at in pieces])


def template_classes(
    tiles: Tiles, position_m: Float[np.ndarray, "link 2"], *, least_match: float
) -> tuple[Int[np.ndarray, "template"], Int[np.ndarray, "link"]]:
    """Return the links that are templates, and the class of every link.

    The first free link is a template and takes the free links that match both of its corners, until
    none is free. Templates that are alike in both corners, or in one and no farther apart than the
    links of a template are spread, are of one class.

    Args:
        tiles: Of training links.
        position_m: Of training links.
        least_match: Correlation that counts as alike.
    """
    chosen, own = _greedy(tiles, least_match)
    tree = cKDTree(position_m[chosen])
    spread_m, templates = _mean_spread_m(position_m, own), templates_of(tiles[chosen])
    pairs = []
    for at in _pieces(len(chosen)):
        products = np.einsum("lcp,tcp->ltc", templates[at], templates.conj(), optimize=True)
        alike = np.abs(products) >= least_match
        joined = alike.all(axis=-1)
        for link, near in enumerate(tree.query_ball_point(tree.data[at], spread_m)):
            joined[link, near] = alike[link, near].any(axis=-1)
        row, column = np.nonzero(joined)
        pairs.append(np.stack([at[row], column]))
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(chosen), len(chosen)))
    return chosen, connected_components(graph, directed=False)[1][own]


def _greedy(
    tiles: Tiles, least: float
) -> tuple[Int[np.ndarray, "template"], Int[np.ndarray, "link"]]:
    """Return the templates, and the template of every link; some candidates at a time for speed."""
    own, free = np.full(len(tiles), -1), np.arange(len(tiles))
    chosen: list[int] = []
    while len(free):
        candidates = free[:_AT_ONCE]
        is_match = correlation(tiles[free], templates_of(tiles[candidates])).min(axis=-1) >= least
        for link, matched in zip(candidates, is_match.T, strict=True):
            if own[link] < 0:
                taken = free[matched & (own[free] < 0)]
                own[taken] = own[link] = len(chosen)
                chosen.append(int(link))
        free = free[own[free] < 0]
    return np.array(chosen), own


def _mean_spread_m(position_m: Float[np.ndarray, "link 2"], own: Int[np.ndarray, "link"]) -> float:
    """Return the mean, over templates of several links, of the r.m.s. spread of positions [m]."""
    size = np.bincount(own)
    mean_m = np.stack([np.bincount(own, weights=x) / size for x in position_m.T], axis=1)
    squared = np.bincount(own, weights=((position_m - mean_m[own]) ** 2).sum(axis=1))
    several = size > 1
    return float(np.sqrt(squared[several] / (size[several] - 1)).mean()) if several.any() else 0.0


def _pieces(count: int) -> list[Int[np.ndarray, "row"]]:
    return np.array_split(np.arange(count), max(1, count // _AT_ONCE))


def _cut(csi: Complex[np.ndarray, "link ant tone"], panel: Panel) -> Tiles:
    """Cut the CFR into tiles; antennas go along the rows of a panel, where azimuth shows."""
    grid = csi.reshape(len(csi), panel.num_cols, panel.num_rows, -1).swapaxes(1, 2)
    image = grid.reshape(csi.shape)
    rows = _spans(csi.shape[1], _ANTENNA_SHARE)
    tones = _spans(csi.shape[2], _TONE_SHARE)
    tiles = [image[:, row][:, :, tone].reshape(len(csi), -1) for row in rows for tone in tones]
    flat = np.stack(tiles, axis=1)
    norm = np.linalg.norm(flat, axis=-1, keepdims=True)
    return (flat / np.where(norm > 0, norm, 1.0)).astype("c8")


def _spans(size: int, share: int) -> list[slice]:
    """Return spans of one length that cover a side, the last one at its end."""
    length = -(-size // share)
    starts = [*range(0, size - length, length), size - length]
    return [slice(start, start + length) for start in starts]
