"""The matrices of one transmitter of a DeepMIMO scenario, from the paths of one site."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int

from raymark.dataset import PathTable, Selection
from raymark.dataset.schema import NO_INTERACTION
from raymark.interop.deepmimo_format import POINTS_NAME, carrier_phasor, encode_interactions
from raymark.radio.elements import element_amplitude
from raymark.radio.frames import unit_vector

MIN_REMOVED_AMPLITUDE = 1e-2
"""Of a dipole's null no more than 40 dB is taken out; TR 38.901 elements lose 22 dB at most."""

_MIN_POWER_DBW = -300.0
_MAX_FLOAT32_CODE = 1e7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where each path stands in a padded matrix.

    Attributes:
        row: Rows of the path table in the order of the matrix.
        link: Link of each.
        place: Place among the paths of its link.
        shape: Links, and most paths of a link.
    """

    row: Int[np.ndarray, "path"]
    link: Int[np.ndarray, "path"]
    place: Int[np.ndarray, "path"]
    shape: tuple[int, int]

    def pad(self, values: np.ndarray, dtype: str = "f4") -> np.ndarray:
        """Return values of the path table as a matrix; NaN where there is no path."""
        padded = np.full((*self.shape, *values.shape[1:]), np.nan, dtype=dtype)
        padded[self.link, self.place] = values[self.row]
        return padded


def matrices_of(
    links: Selection, table: PathTable, *, keep_element_patterns: bool, with_points: bool
) -> dict[str, np.ndarray]:
    """Return all matrices of one site, by DeepMIMO's names, padded with NaN.

    Args:
        links: Links of one site.
        table: All their paths.
        keep_element_patterns: Leave the elements' patterns in the powers.
        with_points: Add the interaction points, which the dataset must have.
    """
    amplitude = table.amplitude if keep_element_patterns else isotropic_amplitude(links, table)
    received = amplitude * carrier_phasor(table.delay_s, links.band.carrier_hz)
    with np.errstate(divide="ignore"):
        power_dbw = np.maximum(20 * np.log10(np.abs(received)), _MIN_POWER_DBW)
    layout = _layout(table, power_dbw)
    codes = encode_interactions(table.interaction)
    # Float32 counts exactly to 16 million: an eighth interaction needs more.
    code_dtype = "f4" if codes.max(initial=0) < _MAX_FLOAT32_CODE else "f8"
    matrices = {
        "power": layout.pad(power_dbw),
        "phase": layout.pad(np.degrees(np.angle(received))),
        "delay": layout.pad(table.delay_s),
        "aoa_az": layout.pad(np.degrees(table.azimuth_ue_rad.astype("f8"))),
        "aoa_el": layout.pad(np.degrees(table.zenith_ue_rad.astype("f8"))),
        "aod_az": layout.pad(np.degrees(table.azimuth_bs_rad.astype("f8"))),
        "aod_el": layout.pad(np.degrees(table.zenith_bs_rad.astype("f8"))),
        "inter": layout.pad(codes, code_dtype),
        "rx_pos": links.position_m,
        "tx_pos": np.array([links.sites[0].position_m], dtype="f4"),
    }
    if with_points:
        matrices[POINTS_NAME] = layout.pad(_points(links, table))
    return matrices


def isotropic_amplitude(links: Selection, table: PathTable) -> Complex[np.ndarray, "path"]:
    """Return the amplitudes that isotropic elements of the same polarization would give.

    Args:
        links: Links of one site.
        table: All their paths.
    """
    front_end, (site,) = links.front_end, links.sites
    at_bs = element_amplitude(
        front_end.panel.element_pattern,
        unit_vector(table.zenith_bs_rad.astype("f8"), table.azimuth_bs_rad.astype("f8")),
        np.array(site.orientation_rad),
    )
    at_ue = element_amplitude(
        front_end.ue.element_pattern,
        unit_vector(table.zenith_ue_rad.astype("f8"), table.azimuth_ue_rad.astype("f8")),
        np.zeros(3),
    )
    removed = np.maximum(at_bs, MIN_REMOVED_AMPLITUDE) * np.maximum(at_ue, MIN_REMOVED_AMPLITUDE)
    return table.amplitude / removed


def _layout(table: PathTable, power_dbw: Float[np.ndarray, "path"]) -> _Layout:
    """Order the paths of each link: the line of sight first, the others by falling power.

    DeepMIMO calls a link LOS if its first path is, and cuts off the last ones.
    """
    counts = np.diff(table.path_offset)
    link = np.repeat(np.arange(len(counts)), counts)
    is_direct = table.interaction[:, 0] == NO_INTERACTION
    row = np.lexsort((-power_dbw, ~is_direct, link))
    return _Layout(
        row=row,
        link=link,
        place=np.arange(len(link)) - table.path_offset[link],
        shape=(len(counts), max(1, int(counts.max(initial=0)))),
    )


def _points(links: Selection, table: PathTable) -> Float[np.ndarray, "path depth 3"]:
    """Return the interaction points from the BS, NaN beyond the last."""
    points_m = links.detail_table(0, len(links)).vertex_m
    is_used = (table.interaction != NO_INTERACTION)[..., None]
    depth = max(1, int((table.interaction != NO_INTERACTION).sum(axis=1).max(initial=0)))
    return np.where(is_used, points_m, np.nan)[:, :depth]
