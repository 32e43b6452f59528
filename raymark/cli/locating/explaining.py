"""What speaks for a place: the map's paths there that were measured, and the whole posterior."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from raymark.benchmark import Measurements
from raymark.dataset.schema import LOS, NLOS, NO_INTERACTION, OUTAGE
from raymark.models.twin.unlabelled import Locations, MapLocator
from raymark.plots import LinkPosterior, new_figure, plot_link_posterior, save_figure
from raymark.viewer import LinkPaths, LinkPosteriors, LocatedLinks, keep_paths, take_links
from raymark.viewer.stored import stored_links

_LEAST_SHARE = 1e-3
"""Points of a posterior below this part of its largest share are not shown in 3D."""
_NEAR_M = 15.0


def located_links(locator: MapLocator, found: Locations) -> LocatedLinks:
    """Return located links with the paths that explain them, as the 3D page shows them.

    Paths are those of the nearest candidate; a link counts as LOS if one of them is straight.

    Args:
        locator: The map.
        found: Where the links are.
    """
    links, materials = _explained(locator, found, np.arange(len(found)))
    return LocatedLinks(
        site=locator.site.site,
        band=locator.receiver.band.name,
        links=replace(links, los=_labels(links)),
        posteriors=_posteriors(locator, found),
        materials=materials,
    )


def link_posterior(
    locator: MapLocator,
    links: Measurements,
    found: Locations,
    link: int,
    *,
    true_m: Float[np.ndarray, "2"] | None = None,
) -> LinkPosterior:
    """Return the posterior of one link with the paths that explain it, as a figure shows them.

    Args:
        locator: The map.
        links: What was measured.
        found: Where the links are.
        link: Number of one of them.
        true_m: Where it really is, if that is known [m].
    """
    paths, _ = _explained(locator, found, np.array([link]))
    corners = [
        np.vstack([locator.site.position_m, vertex_m[codes != NO_INTERACTION], paths.position_m[0]])
        for vertex_m, codes in zip(paths.vertex_m, paths.interaction, strict=True)
    ]
    stood = locator.city.buildings(locator.site.scene)
    x, y, _ = locator.site.position_m
    return LinkPosterior(
        buildings=() if stood is None else stood.parts,
        site_m=(x, y),
        point_m=locator.point_m,
        share=locator.grid_shares(links, link),
        spacing_m=locator.spacing_m,
        position_m=found.position_m[link],
        covariance_m2=found.covariance_m2[link],
        corner_m=tuple(corner_m[:, :2] for corner_m in corners),
        num_paths=int(found.num_paths[link]),
        num_explained=int(found.num_explained[link]),
        true_m=true_m,
    )


def save_link_figure(link: LinkPosterior, path: Path) -> None:
    """Draw the posterior of a link into a file: from the site on, and near the place.

    What is drawn stands beside it as `.npz`, corners of all paths one after another.

    Raises:
        ConfigError: If the name's ending is no format of a figure.
        DatasetError: If the file cannot be written.
    """
    figure, (whole, near) = new_figure(1, 2, panel_inches=(7.0, 6.0))
    plot_link_posterior(link, ax=whole)
    plot_link_posterior(link, radius_m=_NEAR_M, ax=near)
    save_figure(figure, path)
    names = ("point_m", "share", "position_m", "covariance_m2")
    arrays = {name: getattr(link, name) for name in names}
    arrays["corner_m"] = np.concatenate([np.zeros((0, 2)), *link.corner_m])
    arrays["corner_offset"] = np.cumsum([0, *map(len, link.corner_m)])
    if link.true_m is not None:
        arrays["true_m"] = link.true_m
    np.savez(path.with_suffix(".npz"), allow_pickle=False, **arrays)


def _explained(
    locator: MapLocator, found: Locations, rows: Int[np.ndarray, "row"]
) -> tuple[LinkPaths, tuple[str, ...]]:
    """Return some links where they were found, with the paths of their candidates that explain."""
    wanted, row = np.unique(found.candidate[rows], return_inverse=True)
    stored, materials = stored_links(locator.city, locator.site, 0, wanted)
    links = take_links(stored, row)
    count = np.diff(links.path_offset)
    link, place = np.repeat(np.arange(len(rows)), count), _places(count)
    explaining = found.is_explaining[rows]
    is_known = place < explaining.shape[1]
    is_kept = is_known & explaining[link, np.where(is_known, place, 0)]
    position_m = np.column_stack([found.position_m[rows], links.position_m[:, 2]]).astype("f4")
    return replace(keep_paths(links, is_kept), ue_index=rows, position_m=position_m), materials


def _places(count: Int[np.ndarray, "link"]) -> Int[np.ndarray, "path"]:
    """Return the place of each path among those of its link."""
    first = np.cumsum(count) - count
    return np.arange(int(count.sum())) - np.repeat(first, count)


def _labels(links: LinkPaths) -> Int[np.ndarray, "link"]:
    count = np.diff(links.path_offset)
    is_straight = (links.interaction == NO_INTERACTION).all(axis=1)
    link = np.repeat(np.arange(len(links)), count)
    num_straight = np.bincount(link[is_straight], minlength=len(links))
    return np.select([num_straight > 0, count > 0], [LOS, NLOS], OUTAGE)


def _posteriors(locator: MapLocator, found: Locations) -> LinkPosteriors:
    least = _LEAST_SHARE * found.mode_share.max(axis=1, keepdims=True)
    link, mode = np.nonzero(found.mode_share >= least)
    xy_m = found.mode_m[link, mode]
    nearest = cKDTree(locator.point_m).query(xy_m)[1]
    height_m = locator.height_m[nearest]
    return LinkPosteriors(
        offset=np.searchsorted(link, np.arange(len(found) + 1)),
        position_m=np.column_stack([xy_m, height_m]).astype("f4"),
        share=found.mode_share[link, mode].astype("f4"),
    )
