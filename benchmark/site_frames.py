"""The frames of sites on the ground: origin at the BS, x along its azimuth."""

import numpy as np
from jaxtyping import Float, Int

from raymark.dataset.manifest import SiteRecord


def site_frame_positions(
    position_m: Float[np.ndarray, "link 2"],
    site_index: Int[np.ndarray, "link"],
    sites: tuple[SiteRecord, ...],
) -> Float[np.ndarray, "link 2"]:
    """Turn world into site coordinates: origin at the BS, x along its azimuth [m]."""
    origin_m, rotation = _site_frames(sites)
    offset_m = position_m.astype("f8") - origin_m[site_index]
    return np.einsum("lji,lj->li", rotation[site_index], offset_m)


def world_frame_positions(
    position_m: Float[np.ndarray, "link 2"],
    site_index: Int[np.ndarray, "link"],
    sites: tuple[SiteRecord, ...],
) -> Float[np.ndarray, "link 2"]:
    """Turn site into world coordinates [m]."""
    origin_m, rotation = _site_frames(sites)
    return np.einsum("lij,lj->li", rotation[site_index], position_m) + origin_m[site_index]


def world_frame_covariances(
    covariance_m2: Float[np.ndarray, "link 2 2"],
    site_index: Int[np.ndarray, "link"],
    sites: tuple[SiteRecord, ...],
) -> Float[np.ndarray, "link 2 2"]:
    """Turn covariances of site coordinates into those of world coordinates [m^2]."""
    rotation = _site_frames(sites)[1][site_index]
    return rotation @ covariance_m2 @ rotation.transpose(0, 2, 1)


def _site_frames(
    sites: tuple[SiteRecord, ...],
) -> tuple[Float[np.ndarray, "site 2"], Float[np.ndarray, "site 2 2"]]:
    """Return origin and rotation (site to world) of every site's frame."""
    origin_m = np.array([site.position_m[:2] for site in sites], dtype="f8")
    yaw = np.array([site.orientation_rad[0] for site in sites])
    rotation = np.stack([np.cos(yaw), -np.sin(yaw), np.sin(yaw), np.cos(yaw)], axis=-1)
    return origin_m, rotation.reshape(-1, 2, 2)
