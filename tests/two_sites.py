"""Two sites on flat ground, and three UEs that both see: every number by hand."""

import numpy as np
from jaxtyping import Float

from raymark.benchmark.measurements import Measurements, SiteContext
from raymark.radio import BAND_PRESETS, Panel

WEST, EAST = (10.0, 20.0, np.pi / 2), (50.0, 0.0, np.pi)
"""x and y [m] and azimuth [rad]: the one looks north, the other west."""
UE_M = np.array([[13.0, 24.0], [20.0, 50.0], [30.0, 10.0]])
HEIGHT_M = 8.5


def in_frames_of(
    links: Measurements, ue_m: Float[np.ndarray, "ue 2"]
) -> Float[np.ndarray, "link 2"]:
    """Return where the UE of each link is from its site, UE by UE in ten naive lines."""
    found = []
    numbers = range(len(links)) if links.ue is None else links.ue
    for number, site in zip(numbers, links.site_index, strict=True):
        x_m, y_m, yaw_rad = (WEST, EAST)[site]
        away = complex(*ue_m[number % len(ue_m)]) - complex(x_m, y_m)
        turned = away * np.exp(-1j * yaw_rad)
        found.append([turned.real, turned.imag])
    return np.array(found).reshape(-1, 2)


def links_at_sites(
    ue_m: Float[np.ndarray, "ue 2"] = UE_M, *, deaf: tuple[tuple[int, int], ...] = ()
) -> Measurements:
    """Return the direct path of each UE at both sites, those of the west first.

    Args:
        ue_m: Where the UEs are [m].
        deaf: UE and site of links that show no path.
    """
    num = len(ue_m)
    zeros = np.zeros(2 * num)
    ue, site = np.tile(np.arange(num), 2), np.repeat([0, 1], num)
    links = Measurements(
        sites=tuple(
            SiteContext(name=f"a/{name}", panel=Panel(), height_m=HEIGHT_M, pose=pose)
            for name, pose in (("west", WEST), ("east", EAST))
        ),
        bands=(BAND_PRESETS["6GHz"],),
        site_index=site,
        band_index=zeros.astype("i8"),
        window=np.arange(2 * num),
        window_step=zeros.astype("i8"),
        path_range_m=np.zeros((2 * num, 2)),
        path_azimuth_rad=np.zeros((2 * num, 2)),
        path_zenith_rad=np.ones((2 * num, 2)),
        path_power_db=np.full((2 * num, 2), -90.0),
        path_mask=np.tile([True, False], (2 * num, 1)),
        aoa_profile_db=np.zeros((2 * num, 64)),
        distance_m=zeros,
        gain_db=zeros - 90,
        has_signal=zeros == 0,
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
        ue=ue,
    )
    local_m = in_frames_of(links, ue_m)
    for number, where in deaf:
        links.path_mask[(ue == number) & (site == where)] = False
    slant_m = np.hypot(np.linalg.norm(local_m, axis=1), HEIGHT_M)
    links.path_range_m[:, 0] = slant_m
    links.path_azimuth_rad[:, 0] = np.arctan2(local_m[:, 1], local_m[:, 0])
    links.path_zenith_rad[:, 0] = np.arccos(-HEIGHT_M / slant_m)
    links.path_power_db[:, 0] = -20 * np.log10(slant_m) - 48.0
    return links
