"""Regions of AMDNLoc: training links of one class of templates and of one cluster of scalars."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans

from raymark.benchmark import Labelled, Measurements
from raymark.benchmark.features import first_path
from raymark.errors import ConfigError
from raymark.models.amdnloc.templates import (
    Templates,
    best_template,
    template_classes,
    templates_of,
    tiles_of,
    tiles_of_training,
)

_NO_PATH, _REST = -1, -2
"""Class (and cluster) of links without a path, whatever noise looks like; class of all links of a
cluster that are too few in their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRule:
    """How regions are found.

    Attributes:
        least_match: Correlation with a template that counts as alike.
        num_clusters: Of k-means on the scalars, at most; a cluster needs room for two regions.
        least_links: Fewer of a class and cluster make no region: such links of a cluster are one
            together, and where they still are too few, they go to the nearest region.
    """

    least_match: float = 0.95
    num_clusters: int = 30
    least_links: int = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """Regions that were found, and what is needed to find the one of another link.

    Attributes:
        templates: Every template.
        template_class: Class of each template.
        low: Least value of each scalar among training links.
        span: Its range there.
        cluster: Centre of each cluster, in scalars from 0 to 1.
        part: Class and cluster of each region.
        mean: Mean scalars of the links of each region.
    """

    templates: Templates
    template_class: Int[np.ndarray, "template"]
    low: Float[np.ndarray, "scalar"]
    span: Float[np.ndarray, "scalar"]
    cluster: Float[np.ndarray, "cluster scalar"]
    part: Int[np.ndarray, "region 2"]
    mean: Float[np.ndarray, "region scalar"]

    def __len__(self) -> int:
        """Return the number of regions."""
        return len(self.part)

    def of(self, links: Measurements) -> Int[np.ndarray, "link"]:
        """Return the region of each link by what was measured of it alone."""
        found = self.template_class[best_template(tiles_of(links), self.templates)]
        return self.of_class(found, links)

    def of_class(
        self, found: Int[np.ndarray, "link"], links: Measurements
    ) -> Int[np.ndarray, "link"]:
        """Return the region of links of known classes; the nearest where theirs has none.

        Raises:
            ConfigError: If the links have other scalars than those that the regions were found by.
        """
        scalars = scalars_of(links)
        if scalars.shape[1] != len(self.low):
            raise ConfigError(
                f"regions of AMDNLoc were found by {len(self.low)} scalars, the links have "
                f"{scalars.shape[1]}: the angle at the UE is among those of track 'paper-all' "
                "alone; locate links of the kind that the model was trained on"
            )
        scaled = (scalars - self.low) / self.span
        cluster = cKDTree(self.cluster).query(scaled)[1]
        region = cKDTree(self.mean).query(scaled)[1]
        for part in (_parts(np.full_like(found, _REST), cluster), _parts(found, cluster, links)):
            is_own = (part[:, None] == self.part).all(axis=-1)
            region = np.where(is_own.any(axis=1), is_own.argmax(axis=1), region)
        return region


def find_regions(
    train: Labelled, *, seed: int, rule: RegionRule | None = None
) -> tuple[Regions, Int[np.ndarray, "link"]]:
    """Return the regions of training links, and the region of each of them.

    Args:
        train: Training links.
        seed: Of the clusters.
        rule: How; the one of the card if not given.
    """
    rule, links = rule or RegionRule(), train.measurements
    tiles = tiles_of_training(train)
    chosen, own = template_classes(tiles, train.position_m, least_match=rule.least_match)
    low, span, cluster = _clusters(links, rule, seed)
    scaled = (scalars_of(links) - low) / span
    part, number, size = _divided(_parts(own, cKDTree(cluster).query(scaled)[1], links), rule)
    # Where all are small, the largest is the one region.
    kept = np.flatnonzero(size >= min(rule.least_links, size.max()))
    regions = Regions(
        templates=templates_of(tiles[chosen]),
        template_class=own[chosen],
        low=low,
        span=span,
        cluster=cluster,
        part=part[kept],
        mean=np.stack([scaled[number == i].mean(axis=0) for i in kept]),
    )
    return regions, regions.of_class(own, links)


def _clusters(
    links: Measurements, rule: RegionRule, seed: int
) -> tuple[
    Float[np.ndarray, "scalar"], Float[np.ndarray, "scalar"], Float[np.ndarray, "cluster scalar"]
]:
    """Return least value and range of each scalar of links that are heard, and k-means of them."""
    scalars, heard = scalars_of(links), first_path(links)[1]
    known = scalars[heard] if heard.any() else scalars
    low, span = known.min(axis=0), np.ptp(known, axis=0)
    span = np.where(span > 0, span, 1.0)
    most = max(1, len(known) // (2 * rule.least_links))
    count = min(rule.num_clusters, most, len(np.unique(known, axis=0)))
    means = KMeans(count, n_init=4, random_state=seed).fit((known - low) / span)
    return low, span, means.cluster_centers_


def scalars_of(links: Measurements) -> Float[np.ndarray, "link scalar"]:
    """Return distance [m], gain [dB] and azimuth at the BS [rad], and at the UE where known."""
    column, _ = first_path(links)
    azimuth_rad = links.path_azimuth_rad[np.arange(len(links)), column]
    columns = [links.distance_m, links.gain_db, azimuth_rad]
    columns += [] if links.ue_azimuth_rad is None else [links.ue_azimuth_rad]
    return np.stack(columns, axis=1).astype("f8")


def _parts(
    own: Int[np.ndarray, "link"],
    cluster: Int[np.ndarray, "link"],
    links: Measurements | None = None,
) -> Int[np.ndarray, "link 2"]:
    """Return class and cluster of each link; without a path it is of neither."""
    part = np.stack([own, cluster], axis=1)
    return part if links is None else np.where(first_path(links)[1][:, None], part, _NO_PATH)


def _divided(
    part: Int[np.ndarray, "link 2"], rule: RegionRule
) -> tuple[Int[np.ndarray, "part 2"], Int[np.ndarray, "link"], Int[np.ndarray, "part"]]:
    """Return the parts, the part of each link, and their sizes, small ones of a cluster as one."""
    _, number, size = np.unique(part, axis=0, return_inverse=True, return_counts=True)
    is_small = (size < rule.least_links)[number.reshape(-1)] & (part[:, 0] != _NO_PATH)
    joined = np.stack([np.where(is_small, _REST, part[:, 0]), part[:, 1]], axis=1)
    parts, number, size = np.unique(joined, axis=0, return_inverse=True, return_counts=True)
    return parts, number.reshape(-1), size
