"""Which search finds the paths of a site: ours, or Sionna's own where ours cannot."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.solver_search import SolverSearch
from raymark.radio import Band


@runtime_checkable
class SiteSearch(Protocol):
    """A search for the paths between one BS and any UEs."""

    def trace(
        self,
        ue_position_m: Float[np.ndarray, "ue 3"],
        bands: tuple[Band, ...],
        references: tuple[Band, ...] = (),
    ) -> TracedPaths:
        """Return the paths to some UEs, with their fields at every band.

        Args:
            ue_position_m: The UEs [m].
            bands: Carriers.
            references: Further carriers, whose fields come last. With them the weakest paths of a
                link may be left out, those that together have no power to speak of at any of them.
        """


def make_search(
    scene: LoadedScene,
    bs_position_m: Float[np.ndarray, "3"],
    bs_orientation_rad: Float[np.ndarray, "3"],
    settings: TracerSettings,
    *,
    seed: int,
) -> SiteSearch:
    """Return the search that the settings need: chains, or Sionna's where these cannot do.

    Raises:
        ConfigError: If the settings are those of a dataset whose search is no longer there.
    """
    if settings.needs_solver:
        return SolverSearch(scene, bs_position_m, bs_orientation_rad, settings, seed=seed)
    return ChainSearch(scene, bs_position_m, bs_orientation_rad, settings)
