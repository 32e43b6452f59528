"""What imports do to the paths of other programs: elements' patterns, limits, rounded delays."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.radio import SPEED_OF_LIGHT_M_S, FrontEnd, Site
from raymark.radio.elements import element_amplitude


def through_elements(paths: TracedPaths, site: Site, front_end: FrontEnd) -> TracedPaths:
    """Return the paths as a panel's elements and the UE's see them."""
    at_bs = element_amplitude(
        front_end.panel.element_pattern, paths.direction_bs, np.array(site.orientation_rad)
    )
    at_ue = element_amplitude(front_end.ue.element_pattern, paths.direction_ue, np.zeros(3))
    return replace(paths, amplitude=(paths.amplitude * (at_bs * at_ue)).astype("c8"))


def lifted(
    delay_s: Float[np.ndarray, "path"], straight_m: Float[np.ndarray, "path"]
) -> tuple[Float[np.ndarray, "path"], int]:
    """Lift delays that were rounded below the straight line to it; return them and their number.

    Text files of ray tracers have six digits or centimetres. A float32 is precise enough for the
    schema, and what is shorter than rounding explains is left to be refused as unphysical.
    """
    missing_m = straight_m - delay_s * SPEED_OF_LIGHT_M_S
    is_rounded = (missing_m > 2e-4 + 1e-6 * straight_m) & (missing_m < 0.02 + 1e-5 * straight_m)
    lifted = np.where(is_rounded, straight_m / SPEED_OF_LIGHT_M_S, delay_s)
    return lifted.astype("f4"), int(is_rounded.sum())


def num_too_far(paths: TracedPaths, limit_m: float) -> int:
    """Count the links all of whose paths are longer than the limit."""
    is_short = paths.delay_s.astype("f8") * SPEED_OF_LIGHT_M_S <= limit_m
    return len(np.setdiff1d(paths.ue_index, paths.ue_index[is_short]))
