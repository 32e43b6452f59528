"""From traced paths to the arrays of a shard: merge, rank, cut off, label, put in order."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.schema import LOS, NLOS, NO_INTERACTION, NOTHING_TRUNCATED_DB, OUTAGE
from raymark.dataset.writing.kept import needed_paths
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.dataset.writing.ues import SampledUEs
from raymark.radio import SPEED_OF_LIGHT_M_S, Site
from raymark.radio.frames import angles

Arrays = dict[str, np.ndarray]

_SAME_DELAY_S = 1e-10
_SAME_DIRECTION = 1e-3


def assemble_shard(
    paths: TracedPaths,
    ues: SampledUEs,
    *,
    first_ue: int,
    site: Site,
    settings: TracerSettings,
    material_of_object: Int[np.ndarray, "object"],
) -> tuple[Arrays, Arrays]:
    """Build the `paths` and `detail` arrays of one shard.

    Args:
        paths: Traced paths; `ue_index` counts within `ues`. Without fields of references the
            first band ranks them.
        ues: UEs of the shard.
        first_ue: Number of the first of them at its site.
        site: The base station.
        settings: How many and how long paths are kept.
        material_of_object: Index of each object's material.
    """
    rows, truncated_db, saturated = _select(paths, len(ues), settings)
    ue_index = paths.ue_index[rows]
    count = np.bincount(ue_index, minlength=len(ues))
    num_interactions = (paths.interaction[rows] > 0).sum(axis=1)
    zenith_bs, azimuth_bs = angles(paths.direction_bs[rows].astype("f8"))
    zenith_ue, azimuth_ue = angles(paths.direction_ue[rows].astype("f8"))
    main: Arrays = {
        "bs/position_m": np.asarray(site.position_m, dtype="f4"),
        "bs/orientation_rad": np.asarray(site.orientation_rad, dtype="f4"),
        "ue/position_m": ues.position_m,
        "ue/ue_index": first_ue + np.arange(len(ues), dtype="i8"),
        "ue/track_id": ues.track_id,
        "ue/track_step": ues.track_step,
        "link/path_offset": np.concatenate([[0], np.cumsum(count)]).astype("i8"),
        "link/los": _labels(ue_index, num_interactions, len(ues)),
        "link/truncated_power_db": truncated_db,
        "link/saturated": saturated,
        "path/delay_s": paths.delay_s[rows].astype("f4"),
        "path/zenith_bs_rad": zenith_bs.astype("f4"),
        "path/azimuth_bs_rad": azimuth_bs.astype("f4"),
        "path/zenith_ue_rad": zenith_ue.astype("f4"),
        "path/azimuth_ue_rad": azimuth_ue.astype("f4"),
        "path/interaction": paths.interaction[rows],
        "path/num_interactions": num_interactions.astype("u1"),
        "path/amplitude": paths.amplitude[: paths.num_bands, rows],
    }
    objects = paths.object_index[rows]
    detail: Arrays = {
        "path/vertex_m": paths.vertex_m[rows],
        "path/object": objects,
        "path/primitive": paths.primitive[rows],
        "path/material": np.where(objects >= 0, material_of_object[objects], -1).astype("i2"),
        "path/wedge": paths.wedge[rows],
    }
    return main, detail


def merge_duplicates(paths: TracedPaths) -> Int[np.ndarray, "kept"]:
    """Return the rows that remain when indistinguishable paths are counted once.

    A diffracting edge that a mesh divides, or lists twice, gives the same path more than once. The
    strongest at the first band stays.
    """
    group = path_groups(paths)
    order = np.lexsort((paths.delay_s, -np.abs(paths.amplitude[0]), group))
    first = np.diff(group[order], prepend=-1) > 0
    return np.sort(order[first])


def path_groups(paths: TracedPaths) -> Int[np.ndarray, "path"]:
    """Number the paths so that indistinguishable ones have the same number.

    They are of one UE, have the same interactions, and their delays (0.1 ns) and directions at
    both ends (1 mrad) agree.
    """
    kind = paths.interaction.astype("i8") @ (16 ** np.arange(paths.interaction.shape[1]))
    _, kind = np.unique(kind, return_inverse=True)
    link = paths.ue_index * (kind.max(initial=0) + 1) + kind
    order = np.lexsort((paths.delay_s, link))
    # Most paths have no other near them in delay, and need no closer look.
    apart = (np.diff(link[order]) != 0) | (np.diff(paths.delay_s[order]) > _SAME_DELAY_S)
    starts = np.concatenate([[True], apart]) if len(order) else np.zeros(0, dtype=bool)
    crowd = np.cumsum(starts) - 1
    crowded = np.bincount(crowd)[crowd] > 1
    group = np.empty(len(order), dtype="i8")
    group[order[~crowded]] = crowd[~crowded]
    rows = order[crowded]
    group[rows] = len(order) + _near_groups(paths, link, rows)
    return group


def _near_groups(
    paths: TracedPaths, link: Int[np.ndarray, "path"], rows: Int[np.ndarray, "row"]
) -> Int[np.ndarray, "row"]:
    """Number the rows by nearness in delay and both directions, links apart."""
    if len(rows) == 0:
        return np.zeros(0, dtype="i8")
    # One unit along every axis is "the same"; links are spread so far apart as to never be.
    columns = [
        link[rows, None] * 10.0,
        paths.delay_s[rows, None] / _SAME_DELAY_S,
        paths.direction_bs[rows] / _SAME_DIRECTION,
        paths.direction_ue[rows] / _SAME_DIRECTION,
    ]
    tree = cKDTree(np.concatenate(columns, axis=1))
    pairs = tree.query_pairs(1.0, p=np.inf, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), dtype="i1"), tuple(pairs.T)), shape=(len(rows),) * 2)
    return connected_components(graph, directed=False)[1]


def _select(
    paths: TracedPaths, num_ues: int, settings: TracerSettings
) -> tuple[Int[np.ndarray, "kept"], Float[np.ndarray, "band ue"], Bool[np.ndarray, "ue"]]:
    """Return the kept rows in their final order, the power cut off, and who lost paths."""
    rows = merge_duplicates(paths)
    ue, power = paths.ue_index[rows], np.abs(paths.amplitude[:, rows].astype("c16")) ** 2
    references = power[paths.num_bands :]
    ranking = references if len(references) else power[:1]
    wanted = _wanted(paths, rows, ranking, num_ues, settings)
    direct = paths.interaction[rows, 0] == NO_INTERACTION
    total = np.stack([np.bincount(ue, values, num_ues) for values in ranking])
    largest_share = (ranking / np.maximum(total[:, ue], np.finfo("f8").tiny)).max(axis=0)
    same = (paths.direction_bs[rows, 0], paths.delay_s[rows])
    # The line of sight is always kept, since the label hangs on it.
    order = np.lexsort((*same, -largest_share, ~direct, ~wanted, ue))
    rank = np.arange(len(rows)) - np.searchsorted(ue[order], ue[order], side="left")
    kept = np.zeros(len(rows), dtype=bool)
    kept[order] = wanted[order] & (rank < settings.max_num_paths)
    order = np.lexsort((*same, -power[0], ue))
    found = np.bincount(ue[wanted], minlength=num_ues)
    if len(references):
        cut_db = _truncated_db(references, ue, kept, num_ues).max(axis=0)
        truncated_db = np.tile(cut_db, (paths.num_bands, 1))
    else:
        truncated_db = _truncated_db(power, ue, kept, num_ues)
    return rows[order[kept[order]]], truncated_db, found > settings.max_num_paths


def _wanted(
    paths: TracedPaths,
    rows: Int[np.ndarray, "row"],
    ranking: Float[np.ndarray, "carrier row"],
    num_ues: int,
    settings: TracerSettings,
) -> Bool[np.ndarray, "row"]:
    """Tell which rows are short and strong enough, and lines of sight."""
    wanted = np.ones(len(rows), dtype=bool)
    if settings.max_path_length_m is not None:
        length_m = paths.delay_s[rows].astype("f8") * SPEED_OF_LIGHT_M_S
        wanted = length_m <= settings.max_path_length_m
    if settings.kept_power_share is not None:
        short, ue = np.flatnonzero(wanted), paths.ue_index[rows]
        strong = needed_paths(
            ranking[:, short], ue[short], num_ues, share=settings.kept_power_share
        )
        direct = paths.interaction[rows[short], 0] == NO_INTERACTION
        wanted[short] = strong | direct
    return wanted


def _truncated_db(
    power: Float[np.ndarray, "band path"],
    ue: Int[np.ndarray, "path"],
    kept: Bool[np.ndarray, "path"],
    num_ues: int,
) -> Float[np.ndarray, "band ue"]:
    result = np.full((len(power), num_ues), NOTHING_TRUNCATED_DB)
    for band, values in enumerate(power):
        total = np.bincount(ue, values, num_ues)
        lost = np.bincount(ue[~kept], values[~kept], num_ues)
        share = np.divide(lost, total, out=np.zeros(num_ues), where=total > 0)
        result[band] = 10 * np.log10(np.maximum(share, 10 ** (NOTHING_TRUNCATED_DB / 10)))
    return result.astype("f4")


def _labels(
    ue_index: Int[np.ndarray, "path"], num_interactions: Int[np.ndarray, "path"], num_ues: int
) -> Int[np.ndarray, "ue"]:
    direct = np.bincount(ue_index[num_interactions == 0], minlength=num_ues) > 0
    some = np.bincount(ue_index, minlength=num_ues) > 0
    return np.where(direct, LOS, np.where(some, NLOS, OUTAGE)).astype("i1")
