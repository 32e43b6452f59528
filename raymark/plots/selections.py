"""Figures of the links of one scene at one band: the values are read, and drawn."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex
from matplotlib.axes import Axes

from raymark import plots
from raymark.dataset import Dataset, Selection
from raymark.dataset.buildings import DEFAULT_RANGE_M, HeightMap
from raymark.dataset.link_statistics import link_table, visible_paths
from raymark.dataset.manifest import SiteRecord
from raymark.plots.maps import SiteMark
from raymark.radio.elements import ELEMENT_GAIN_DB
from raymark.seeding import child_generator

_DEFAULT_HALF_WIDTH_RAD = math.pi / 3


def plot_los_map(links: Selection, *, ax: Axes | None = None) -> Axes:
    """Draw the UEs by their label, with sites and buildings."""
    return plots.plot_los_map(
        link_table(links), site_marks(links), height_map=heights_of(links), ax=ax
    )


def plot_coverage_map(links: Selection, *, ax: Axes | None = None) -> Axes:
    """Draw the UEs coloured by their gain [dB], with sites and buildings."""
    return plots.plot_coverage_map(
        link_table(links), site_marks(links), height_map=heights_of(links), ax=ax
    )


def plot_gain_vs_distance(links: Selection, *, ax: Axes | None = None) -> Axes:
    """Draw the gain of every covered link over its distance, with the free-space lines."""
    return plots.plot_gain_vs_distance(
        link_table(links),
        links.band.carrier_hz,
        element_gain_db=element_gain_db(links),
        ax=ax,
    )


def plot_delay_spread_cdf(links: Selection, *, ax: Axes | None = None) -> Axes:
    """Draw the CDF of the r.m.s. delay spread."""
    return plots.plot_delay_spread_cdf(link_table(links), ax=ax)


def plot_azimuth_spread_cdf(links: Selection, *, ax: Axes | None = None) -> Axes:
    """Draw the CDF of the azimuth spread at the BS."""
    return plots.plot_azimuth_spread_cdf(link_table(links), ax=ax)


def plot_csi_magnitude(
    links: Selection, link: int, *, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the noisy CSI of one link.

    Raises:
        IndexError: If there is no such link.
    """
    return plots.plot_csi_magnitude(noisy_csi(links, link, seed), links.band, ax=ax)


def plot_angle_delay_profile(
    links: Selection, link: int, *, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the power of one link over azimuth and path length, with its true paths.

    Raises:
        IndexError: If there is no such link.
    """
    csi = noisy_csi(links, link, seed)
    profile = plots.angle_delay_profile(csi, links.front_end.panel, links.band)
    return plots.plot_angle_delay_profile(profile, paths=visible_paths(links, link), ax=ax)


def heights_of(links: Selection) -> HeightMap | None:
    """Return the buildings of the links' scene; nothing if the dataset does not have them."""
    buildings = links.dataset.buildings(links.sites[0].scene)
    return None if buildings is None else buildings.heights


def site_marks(links: Selection) -> Sequence[SiteMark]:
    """Return how the sites of the links are drawn."""
    return [site_mark(links.dataset, site) for site in links.sites]


def site_mark(dataset: Dataset, site: SiteRecord) -> SiteMark:
    """Return how a site is drawn: its sector as sampled, else 60 deg around the boresight."""
    sector = dataset.manifest.campaign.sampling.sector
    return SiteMark(
        name=site.site,
        position_m=site.position_m[:2],
        azimuth_rad=site.orientation_rad[0],
        half_width_rad=math.radians(sector.sector_half_width_deg)
        if sector
        else _DEFAULT_HALF_WIDTH_RAD,
        range_m=sector.max_range_m if sector else DEFAULT_RANGE_M,
    )


def element_gain_db(links: Selection) -> float:
    """Return the peak gain of the panel's element [dB]."""
    return ELEMENT_GAIN_DB[links.front_end.panel.element_pattern]


def noisy_csi(links: Selection, link: int, seed: int) -> Complex[np.ndarray, "ant subcarrier"]:
    """Return the CSI of one link with fresh noise.

    Args:
        links: Links of one scene at one band.
        link: Its number among them.
        seed: Root of the noise.
    """
    site = links.sites[int(links.site_index[link])]
    rng = child_generator(seed, site.key, links.band.name, "inspection")
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    values = links.fingerprints(link, link + 1, kind="measured", generator=generator)
    csi: Complex[np.ndarray, "ant subcarrier"] = values.csi[0].numpy()
    return csi
