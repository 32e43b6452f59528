"""Samples of any links, made from their paths when they are asked for."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Int
from torch import Tensor

from raymark.dataset import PathTable
from raymark.dataset.manifest import SiteRecord
from raymark.dataset.schema import fields_of
from raymark.presenting import Presented
from raymark.radio import Band, FingerprintKind, FrontEnd, Impairments, ProfileMethod
from raymark.radio.fingerprints import (
    NUM_AZIMUTH_BINS,
    estimate_aoa_profile,
    estimate_distance,
    estimate_gain,
    oracle_fingerprints,
)
from raymark.radio.synthesis import PathBatch, impair, quantize, synthesize_csi
from raymark.seeding import child_generator

SPECS = {spec.name.rsplit("/", maxsplit=1)[-1]: spec for spec in fields_of("fingerprints")}
"""The arrays of a materialised file by their names without the group."""

FIELDS = tuple(SPECS)
"""Names of all fields."""

LABELS = ("position_m", "ue_index", "site_index", "los")
"""Fields that are stored, and not made."""

_CHUNK = 64
"""Links made at once, so that memory is bounded whatever the batch."""


_LARGEST_KEPT_BYTES = 32_000_000


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LinkSamples(Presented):
    """The links of one scene at one band as compact paths, 2 to 4 kB each, in plain numpy.

    A sample is a function of the link, the seed and the number of the draw alone, whatever its
    company (but for float32 rounding): noise and impairments are drawn link by link, each from a
    generator of its own. It holds no open file, and pickles by value into any worker.

    Attributes:
        fields: Names of what a sample holds.
        kind: `measured` or `oracle`.
        method: Estimator of the measured angle-of-arrival profile.
        seed: Root of the noise.
        band: The band.
        front_end: The front-end at the band.
        sites: Sites of the links; `site_index` counts them.
        calibrations: Complex gain of each antenna, of each site.
        labels: `position_m`, `ue_index`, `site_index` and `los` of all links.
        table: The paths of all links.
    """

    fields: tuple[str, ...]
    kind: FingerprintKind
    method: ProfileMethod
    seed: int
    band: Band
    front_end: FrontEnd
    sites: tuple[SiteRecord, ...]
    calibrations: tuple[Complex[np.ndarray, "ant"], ...]
    labels: dict[str, np.ndarray]
    table: PathTable

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.labels["ue_index"])

    def facts(self) -> dict[str, str]:
        """Return which links these are, and how their samples are made."""
        return {
            "scene": self.sites[0].scene,
            "sites": ", ".join(site.site for site in self.sites),
            "band": self.band.name,
            "links": str(len(self)),
            "kind": self.kind,
            "seed": str(self.seed),
            "fields": ", ".join(self.fields),
        }

    def shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return shape and type of one link's value of each field."""
        sizes = {
            "space": 3,
            "ant": self.front_end.panel.num_antennas,
            "subcarrier": self.band.num_subcarriers,
            "azimuth": NUM_AZIMUTH_BINS,
        }
        specs = {name: SPECS[name] for name in self.fields}
        return {
            name: (tuple(sizes[axis] for axis in spec.axes[1:]), np.dtype(spec.dtype))
            for name, spec in specs.items()
        }

    def take(
        self, links: Int[np.ndarray, "link"], draws: Int[np.ndarray, "link"] | int = 0
    ) -> dict[str, Tensor]:
        """Make the samples of some links, in any order, also several times.

        Args:
            links: Numbers of the links in the selection's order; negative ones count from the end.
            draws: Which draw of its noise each link gets, from 0 on.

        Raises:
            IndexError: If there is no such link.
        """
        _keep_freed_memory()
        links = np.arange(len(self))[links]
        values = {
            name: torch.from_numpy(self.labels[name][links])
            for name in self.fields
            if name in self.labels
        }
        if len(values) < len(self.fields):
            values |= self._made(links, np.broadcast_to(draws, links.shape))
        return {name: values[name] for name in self.fields}

    def _made(
        self, links: Int[np.ndarray, "link"], draws: Int[np.ndarray, "link"]
    ) -> dict[str, Tensor]:
        """Make what is no label, site by site (panels point elsewhere) and a few links at once."""
        if not len(links):
            empty = {n: np.empty((0, *shape), dtype) for n, (shape, dtype) in self.shapes().items()}
            return {name: torch.from_numpy(values) for name, values in empty.items()}
        site_index = self.labels["site_index"][links]
        sites = np.unique(site_index).tolist()
        places = [
            place
            for whole in (np.flatnonzero(site_index == site) for site in sites)
            for place in np.split(whole, range(_CHUNK, len(whole), _CHUNK))
        ]
        parts = [self._at_site(links[place], draws[place]) for place in places]
        if len(parts) == 1:
            return parts[0]
        made = [name for name in self.fields if name not in LABELS]
        values = {name: torch.cat([part[name] for part in parts]) for name in made}
        if len(sites) == 1:
            return values
        back = torch.from_numpy(np.argsort(np.concatenate(places)))
        return {name: value[back] for name, value in values.items()}

    def _at_site(
        self, links: Int[np.ndarray, "link"], draws: Int[np.ndarray, "link"]
    ) -> dict[str, Tensor]:
        site = int(self.labels["site_index"][links[0]])
        orientation = np.asarray(self.sites[site].orientation_rad, dtype="f8")
        paths = self.table.batch(links, self.band, orientation)
        if self.kind == "measured":
            return self._estimates(self._measured_csi(paths, site, links, draws))
        if set(self.fields) <= {"csi", *LABELS}:
            return {
                "csi": synthesize_csi(
                    paths, self.front_end.panel, late_paths=self.front_end.late_paths
                )
            }
        prints = oracle_fingerprints(paths, self.front_end)
        return {name: getattr(prints, name) for name in self.fields if name not in LABELS}

    def _measured_csi(
        self,
        paths: PathBatch,
        site: int,
        links: Int[np.ndarray, "link"],
        draws: Int[np.ndarray, "link"],
    ) -> Complex[Tensor, "link ant subcarrier"]:
        """Return what `measured_csi` gives for each link alone, with its own generator."""
        csi = synthesize_csi(paths, self.front_end.panel, late_paths=self.front_end.late_paths)
        calibration = torch.from_numpy(self.calibrations[site])
        is_ideal = self.front_end.impairments == Impairments()
        deviation = math.sqrt(self.front_end.noise_variance(self.band))
        # As `add_noise`, but in place: random numbers are most of the time, the rest must not add.
        generator, noise = torch.Generator(), torch.empty_like(csi[:1])
        for i, seed in enumerate(self._noise_seeds(site, links, draws)):
            one = csi[i : i + 1]
            generator.manual_seed(seed)
            if not is_ideal:
                one.copy_(impair(one, self.band, self.front_end, generator, calibration))
            one.add_(noise.normal_(generator=generator), alpha=deviation)
        return quantize(csi, self.front_end.impairments.quantization_bits)

    def _noise_seeds(
        self, site: int, links: Int[np.ndarray, "link"], draws: Int[np.ndarray, "link"]
    ) -> list[int]:
        """Return the seed of each link's generator: its UE's number after a start.

        The start is drawn for each seed, site, band and draw. As torch's generator on the CPU uses
        32 bits of a seed, numbers in a row are distinct within a draw, where hashes would not be.
        """
        starts = {
            draw: child_generator(
                self.seed, self.sites[site].key, self.band.name, "link noise", draw
            ).integers(2**32)
            for draw in np.unique(draws).tolist()
        }
        first = np.array([starts[draw] for draw in draws.tolist()], dtype="i8")
        seeds: list[int] = ((first + self.labels["ue_index"][links]) % 2**32).tolist()
        return seeds

    def _estimates(self, csi: Complex[Tensor, "link ant subcarrier"]) -> dict[str, Tensor]:
        noise_variance = self.front_end.noise_variance(self.band)
        values = {"csi": csi}
        if "aoa_profile" in self.fields:
            panel = self.front_end.panel
            values["aoa_profile"] = estimate_aoa_profile(csi, panel, method=self.method)
        if {"distance_m", "has_signal"} & set(self.fields):
            found = estimate_distance(csi, self.band, noise_variance)
            values["distance_m"], values["has_signal"] = found
        if "gain_db" in self.fields:
            values["gain_db"] = estimate_gain(csi, noise_variance)
        return values


@cache
def _keep_freed_memory() -> None:
    """Have the C library reuse the memory of one batch for the next.

    glibc gives freed memory back to the system beyond twice the largest block that was ever freed,
    so that each batch would pay for fresh pages, a third of its time.
    """
    torch.empty(_LARGEST_KEPT_BYTES, dtype=torch.uint8)
