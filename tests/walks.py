"""Walks of known persistence and noise, and links on tracks that measured nothing of interest."""

import numpy as np
from jaxtyping import Float, Int

from raymark.benchmark.measurements import Labelled, Measurements, SiteContext
from raymark.radio import BAND_PRESETS, Panel


def links_on_tracks(
    window: Int[np.ndarray, "link"], window_step: Int[np.ndarray, "link"]
) -> Measurements:
    """Return links that know of nothing but their place on a track."""
    num = len(window)
    zeros = np.zeros(num)
    return Measurements(
        sites=(SiteContext(name="a/bs0", panel=Panel(), height_m=8.5),),
        bands=tuple(BAND_PRESETS.values()),
        site_index=zeros.astype("i8"),
        band_index=zeros.astype("i8"),
        window=window,
        window_step=window_step,
        path_range_m=np.ones((num, 2)),
        path_azimuth_rad=np.zeros((num, 2)),
        path_zenith_rad=np.ones((num, 2)),
        path_power_db=np.full((num, 2), -90.0),
        path_mask=np.ones((num, 2), dtype=bool),
        aoa_profile_db=np.zeros((num, 64)),
        distance_m=zeros,
        gain_db=zeros - 90,
        has_signal=zeros == 0,
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
    )


def labelled(walks_m: Float[np.ndarray, "track step 2"]) -> Labelled:
    """Return the links of walks, track by track."""
    num_tracks, num_steps = walks_m.shape[:2]
    window = np.repeat(np.arange(num_tracks), num_steps)
    return Labelled(
        measurements=links_on_tracks(window, np.tile(np.arange(num_steps), num_tracks)),
        position_m=walks_m.reshape(-1, 2),
        los=np.ones(window.size, dtype="i8"),
    )


def walks(
    *,
    num_tracks: int,
    num_steps: int,
    persistence: float = 0.9,
    velocity_m2: float = 0.6,
    jitter_m2: float = 0.2,
    seed: int = 1,
) -> Float[np.ndarray, "track step 2"]:
    """Return places of walks that are what `StepModel` says."""
    rng = np.random.default_rng(seed)
    velocity_m = rng.normal(0, np.sqrt(velocity_m2), (num_tracks, 2))
    places = [rng.normal(0, 30, (num_tracks, 2))]
    for _ in range(num_steps - 1):
        turn_m = np.sqrt((1 - persistence**2) * velocity_m2)
        velocity_m = persistence * velocity_m + rng.normal(0, turn_m, velocity_m.shape)
        jitter_m = rng.normal(0, np.sqrt(jitter_m2), velocity_m.shape)
        places.append(places[-1] + velocity_m + jitter_m)
    return np.stack(places, axis=1)
