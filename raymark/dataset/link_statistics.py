"""Statistics of links: gain, delay spread and angle spread of their ragged lists of paths.

All are pure functions of a `PathTable`. A link without power has no spread: its values are 0, and
`link_gain` (0 there) tells it from a link with a single path.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from raymark.dataset import DEFAULT_BATCH_SIZE, Dataset, PathTable, Selection
from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.radio import SPEED_OF_LIGHT_M_S, Band
from raymark.radio.frames import rotation_matrix, unit_vector
from raymark.radio.levels import to_db

_OVER_LINKS = (
    "median_gain_los_db",
    "median_gain_nlos_db",
    "median_num_paths",
    "median_delay_spread_ns",
    "late_share_nlos",
    "behind_share_nlos",
)

PerLink = Float[np.ndarray, "link"]
PerPath = Float[np.ndarray, "path"]

_LEAST_COHERENCE = 1e-12
"""Floor of the resultant's length; it bounds the angle spread by 7.4 rad instead of infinity."""


def num_paths(table: PathTable) -> Int[np.ndarray, "link"]:
    """Return the number of paths of each link."""
    return np.diff(table.path_offset)


def path_power(table: PathTable) -> PerPath:
    """Return the power gain |a|^2 of each path, element patterns included (linear, float64)."""
    power: PerPath = np.abs(table.amplitude.astype("c16")) ** 2
    return power


def link_gain(table: PathTable) -> PerLink:
    """Return the sum of the path powers of each link: its gain averaged over fading (linear)."""
    return _sum_by_link(table, path_power(table))


def mean_delay_s(table: PathTable) -> PerLink:
    """Return the power-weighted mean of the absolute delays [s] (ITU-R P.1407, sec. 2.2.2)."""
    return _mean_by_link(table, table.delay_s.astype("f8"))


def delay_spread_s(table: PathTable) -> PerLink:
    """Return the r.m.s. delay spread [s]: the root of the second central moment of the delays.

    sqrt(sum P (tau - mean)^2 / sum P) (ITU-R P.1407, sec. 2.2.3).
    """
    excess_s = table.delay_s.astype("f8") - mean_delay_s(table)[_link_of_path(table)]
    spread_s: PerLink = np.sqrt(_mean_by_link(table, excess_s**2))
    return spread_s


def azimuth_spread_rad(table: PathTable) -> PerLink:
    """Return the circular spread of the azimuths at the base station [rad].

    sqrt(-2 ln |sum P exp(j phi) / sum P|) (3GPP TR 38.901, Annex A.1, eq. A-1). It does not
    depend on where the azimuth is zero, nor on its wrapping, and may exceed pi.
    """
    azimuth = table.azimuth_bs_rad.astype("f8")
    real, imag = (_mean_by_link(table, part(azimuth)) for part in (np.cos, np.sin))
    coherence = np.where(link_gain(table) > 0, np.hypot(real, imag), 1.0)
    spread: PerLink = np.sqrt(-2 * np.log(np.clip(coherence, _LEAST_COHERENCE, 1.0)))
    return spread


def late_share(table: PathTable, band: Band) -> PerLink:
    """Return the share of each link's power in paths longer than the band is unambiguous.

    CSI leaves these out, unless `FrontEnd.late_paths` has them aliased.
    """
    is_late = table.delay_s.astype("f8") * band.subcarrier_spacing_hz >= 1
    return _mean_by_link(table, is_late.astype("f8"))


def behind_share(table: PathTable, orientation_rad: Float[np.ndarray, "3"]) -> PerLink:
    """Return the share of each link's power in paths that reach the panel from behind.

    CSI leaves these out where the panel is closed (`Panel.is_closed`).

    Args:
        table: Paths of links that share a panel.
        orientation_rad: Yaw, pitch and roll of the panel [rad].
    """
    is_behind = directions_at_panel(table, orientation_rad)[:, 0] < 0
    return _mean_by_link(table, is_behind.astype("f8"))


def directions_at_panel(
    table: PathTable, orientation_rad: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "path 3"]:
    """Return unit vectors from the panel along each path, in its local frame.

    Args:
        table: Paths of links that share a panel.
        orientation_rad: Yaw, pitch and roll of the panel [rad].
    """
    world = unit_vector(table.zenith_bs_rad.astype("f8"), table.azimuth_bs_rad.astype("f8"))
    return world @ rotation_matrix(orientation_rad)


def link_table(selection: Selection) -> pd.DataFrame:
    """Return one row per link of a selection, in its order; paths are read in batches.

    Columns: scene, site, band, ue_index, x_m, y_m, z_m, distance_m (straight line to the BS), los
    (1 LOS, 0 NLOS, -1 outage), num_paths, gain_db (`FLOOR_DB` in outage), delay_spread_ns,
    azimuth_spread_deg (at the BS; 0 in outage), late_share and behind_share (see the functions of
    these names; 0 in outage).
    """
    positions = selection.position_m.astype("f8")
    sites_m = np.array([site.position_m for site in selection.sites])
    columns = {
        "site": np.array([site.site for site in selection.sites])[selection.site_index],
        "ue_index": selection.ue_index,
        **dict(zip(("x_m", "y_m", "z_m"), positions.T, strict=True)),
        "distance_m": np.linalg.norm(positions - sites_m[selection.site_index], axis=1),
        "los": selection.los,
    }
    batches = [
        _statistics(selection, start, stop) for start, stop in selection.ranges(DEFAULT_BATCH_SIZE)
    ]
    table = pd.concat([pd.DataFrame(columns), pd.concat(batches, ignore_index=True)], axis=1)
    table.insert(0, "scene", selection.sites[0].scene)
    table.insert(2, "band", selection.band.name)
    return table


def summarize_links(dataset: Dataset) -> pd.DataFrame:
    """Return the table of `Dataset.summary`, which tells its columns."""
    rows = [
        _summary(link_table(dataset.select(scene=scene, band=band)))
        for scene in dataset.scenes
        for band in dataset.bands
    ]
    table = pd.DataFrame(rows)
    return table.astype(dict.fromkeys(_OVER_LINKS, "Float64"))


def _summary(links: pd.DataFrame) -> dict[str, object]:
    los, covered = links["los"], links[links["los"] != OUTAGE]
    nlos = links[los == NLOS]
    return {
        "scene": links["scene"].iloc[0],
        "band": links["band"].iloc[0],
        "links": len(links),
        "los_share": float((los == LOS).mean()),
        "nlos_share": float((los == NLOS).mean()),
        "outage_share": float((los == OUTAGE).mean()),
        "median_gain_los_db": _median(links.loc[los == LOS, "gain_db"].to_numpy()),
        "median_gain_nlos_db": _median(nlos["gain_db"].to_numpy()),
        "median_num_paths": _median(covered["num_paths"].to_numpy()),
        "median_delay_spread_ns": _median(covered["delay_spread_ns"].to_numpy()),
        "late_share_nlos": float(nlos["late_share"].mean()) if len(nlos) else pd.NA,
        "behind_share_nlos": float(nlos["behind_share"].mean()) if len(nlos) else pd.NA,
    }


def _median(values: np.ndarray) -> object:
    return float(np.median(values)) if len(values) else pd.NA


def visible_paths(selection: Selection, link: int) -> pd.DataFrame:
    """Return the paths of one link that arrive before the panel, strongest first.

    Columns: azimuth_deg (from boresight, in the panel's frame), length_m (delay times c),
    power_db.
    """
    table = selection.path_table(link, link + 1)
    site = selection.sites[int(selection.site_index[link])]
    local = directions_at_panel(table, np.asarray(site.orientation_rad))
    paths = pd.DataFrame(
        {
            "azimuth_deg": np.degrees(np.arctan2(local[:, 1], local[:, 0])),
            "length_m": table.delay_s.astype("f8") * SPEED_OF_LIGHT_M_S,
            "power_db": to_db(path_power(table)),
        }
    )
    return paths[paths["azimuth_deg"].abs() <= 90].reset_index(drop=True)


def _statistics(selection: Selection, start: int, stop: int) -> pd.DataFrame:
    table, site = selection.path_table(start, stop), selection.sites[selection.site_index[start]]
    return pd.DataFrame(
        {
            "num_paths": num_paths(table),
            "gain_db": to_db(link_gain(table)),
            "delay_spread_ns": delay_spread_s(table) * 1e9,
            "azimuth_spread_deg": np.degrees(azimuth_spread_rad(table)),
            "late_share": late_share(table, selection.band),
            "behind_share": behind_share(table, np.asarray(site.orientation_rad)),
        }
    )


def _link_of_path(table: PathTable) -> Int[np.ndarray, "path"]:
    return np.repeat(np.arange(len(table.path_offset) - 1), num_paths(table))


def _sum_by_link(table: PathTable, values: PerPath) -> PerLink:
    num_links = len(table.path_offset) - 1
    # Of no paths at all, numpy would make integers.
    return np.bincount(_link_of_path(table), values, minlength=num_links).astype("f8")


def _mean_by_link(table: PathTable, values: PerPath) -> PerLink:
    """Return the power-weighted mean over each link's paths; 0 where there is no power."""
    power = path_power(table)
    total = _sum_by_link(table, power)
    weighted = _sum_by_link(table, power * values)
    mean: PerLink = np.divide(weighted, total, out=np.zeros_like(total), where=total > 0)
    return mean
