"""Which links and fields a loader gives: chosen by name, checked, and read."""

from collections.abc import Sequence
from typing import Required, TypedDict, get_args

import numpy as np
from jaxtyping import Complex

from raymark.config import nearest
from raymark.dataset import Selection, open_dataset
from raymark.errors import ConfigError
from raymark.keywords import keywords_checked
from raymark.loaders.samples import FIELDS, LABELS, SPECS, LinkSamples
from raymark.radio import FingerprintKind, ProfileMethod
from raymark.storage import PlaceLike


class LinkChoice(TypedDict, total=False):
    """Which samples a loader gives; every loader takes these by name.

    Attributes:
        scene: Scene of the links.
        band: Their band.
        site: Their site; links of all sites of the scene if not given.
        kind: `measured` (estimated from noisy CSI, the default) or `oracle` (the ray tracer's).
        seed: Root of order and of each link's noise; the campaign's if not given. A file of
            fingerprints draws for 256 links at once: under the same seed it holds another draw.
        fields: What to make, of `FIELDS`; all if not given. What is not asked for costs nothing.
        method: Estimator of the measured angle-of-arrival profile.
    """

    scene: Required[str]
    band: Required[str]
    site: str | None
    kind: FingerprintKind
    seed: int | None
    fields: Sequence[str]
    method: ProfileMethod


loader = keywords_checked(more=LinkChoice.__annotations__, required=("scene", "band"))
"""Decorates every loader: a wrong choice is refused in the loader's own name."""


@loader
def open_links(  # noqa: PLR0913 - the choices of every loader
    folder: PlaceLike,
    *,
    scene: str,
    band: str,
    site: str | None = None,
    kind: str = "measured",
    seed: int | None = None,
    fields: Sequence[str] = FIELDS,
    method: str = "bartlett",
) -> LinkSamples:
    """Read the paths of the links that `LinkChoice` describes.

    Raises:
        DatasetError: If the folder holds no finished dataset, or has no such scene, band or site.
        ConfigError: If `kind`, `method`, `seed` or one of the `fields` is not possible.
    """
    wanted = (fields,) if isinstance(fields, str) else tuple(fields)
    if not wanted:
        raise ConfigError(f"no fields were asked for (there are: {', '.join(FIELDS)})")
    for name in wanted:
        _require("field", name, FIELDS)
    _require("kind", kind, get_args(FingerprintKind))
    _require("method", method, get_args(ProfileMethod))
    if seed is not None and seed < 0:
        raise ConfigError(f"seed must not be negative, got {seed}")
    selection = open_dataset(folder).select(scene=scene, band=band, site=site)
    campaign_seed = selection.dataset.manifest.campaign.seed
    return LinkSamples(
        fields=wanted,
        kind=kind,  # type: ignore[arg-type] # checked above
        method=method,  # type: ignore[arg-type]
        seed=campaign_seed if seed is None else seed,
        band=selection.band,
        front_end=selection.front_end,
        sites=selection.sites,
        calibrations=_calibrations(selection),
        labels={
            name: getattr(selection, name).astype(SPECS[name].dtype, copy=False) for name in LABELS
        },
        table=selection.path_table(0, len(selection)),
    )


def _require(noun: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(
            f"unknown {noun} '{name}'{nearest(str(name), list(known))} "
            f"(there are: {', '.join(known)})"
        )


def _calibrations(selection: Selection) -> tuple[Complex[np.ndarray, "ant"], ...]:
    first = [start for start, _ in selection.ranges(len(selection))]
    return tuple(selection.calibration(link, selection.front_end).numpy() for link in first)
