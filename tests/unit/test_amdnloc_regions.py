"""Regions of AMDNLoc on channels of one or two plane waves, whose correlations are known."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Complex, Float

from raymark.benchmark import Labelled, Measurements
from raymark.benchmark.measurements import CsiArray, CsiFiles, SiteContext
from raymark.errors import ConfigError
from raymark.models.amdnloc.model import as_published
from raymark.models.amdnloc.regions import RegionRule, find_regions
from raymark.models.amdnloc.templates import (
    best_template,
    correlation,
    template_classes,
    templates_of,
    tiles_of,
)
from raymark.models.neural.images import angle_delay, csi_images, power_floor
from raymark.radio import BAND_PRESETS, Panel

PANEL = Panel(num_rows=1, num_cols=32, element_pattern="iso", mirrors_back=True)
NUM_TONES = 32

Wave = tuple[float, float, complex]
"""Cycles across the array, cycles across the band, amplitude."""

ROUNDING = 1e-5
"""Float32 of products of 32 pixels."""


def csi_of(*waves: Wave) -> Complex[np.ndarray, "ant tone"]:
    """Return the CFR of plane waves, by the definition."""
    ant, tone = np.arange(32) / 32, np.arange(NUM_TONES) / NUM_TONES
    parts = [
        amplitude * np.exp(2j * np.pi * (across * ant[:, None] - delay * tone))
        for across, delay, amplitude in waves
    ]
    return np.asarray(sum(parts), dtype="c8")


def links_of(
    csi: list[Complex[np.ndarray, "ant tone"]],
    scalar: Float[np.ndarray, "link"],
    *,
    is_heard: bool = True,
) -> Measurements:
    """Return links whose distance, gain and azimuth are one scalar each."""
    count = len(csi)
    zeros, column = np.zeros(count), scalar[:, None].astype("f8")
    return Measurements(
        sites=(SiteContext(name="yard/west", panel=PANEL, height_m=5.0),),
        bands=(BAND_PRESETS["6GHz"],),
        site_index=np.zeros(count, dtype="i8"),
        band_index=np.zeros(count, dtype="i8"),
        window=np.arange(count),
        window_step=np.zeros(count, dtype="i8"),
        path_range_m=column,
        path_azimuth_rad=column,
        path_zenith_rad=np.full((count, 1), np.pi / 2),
        path_power_db=np.full((count, 1), -80.0),
        path_mask=np.full((count, 1), is_heard),
        aoa_profile_db=np.zeros((count, 64)),
        distance_m=scalar,
        gain_db=scalar,
        has_signal=np.full(count, is_heard),
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
        csi_files=CsiFiles(
            files=(CsiArray(values=np.stack(csi)),),
            file_index=np.zeros(count, dtype="i8"),
            row=np.arange(count),
        ),
    )


def labelled(links: Measurements, x_m: Float[np.ndarray, "link"]) -> Labelled:
    position_m = np.stack([x_m, np.zeros_like(x_m)], axis=1)
    return Labelled(measurements=links, position_m=position_m, los=np.zeros(len(links), "i8"))


def corridors(num_links: int = 24) -> tuple[Labelled, np.ndarray]:
    """Two corridors, each seen through one path that hardly changes along it, of other scalars."""
    along = np.arange(num_links) / num_links
    street = np.arange(num_links) % 2
    waves = [
        (3.0 + 9.0 * s + 0.05 * a, 5.0 + 4.0 * s, 1j**k)
        for k, (s, a) in enumerate(zip(street, along, strict=True))
    ]
    links = links_of([csi_of(wave) for wave in waves], 100.0 * street + along)
    return labelled(links, 200.0 * street + 10.0 * along), street


def test_matched_filter_finds_the_same_path_whatever_its_phase_and_power() -> None:
    first_paths: list[Wave] = [(2.0, 3.0, 1.0), (9.0, 3.0, 1.0), (2.0, 11.0, 1.0)]
    links = links_of([csi_of(path) for path in first_paths], np.zeros(3))
    templates = templates_of(tiles_of(links))
    turned = [
        csi_of((across, delay, 1e-4j * amplitude))
        for across, delay, amplitude in (first_paths[2], first_paths[0], first_paths[1])
    ]

    tiles = tiles_of(links_of(turned, np.zeros(3)))

    assert best_template(tiles, templates).tolist() == [2, 0, 1]
    np.testing.assert_allclose(correlation(tiles, templates)[0, 2], 1.0, atol=ROUNDING)


def test_correlation_is_the_largest_product_over_all_tiles_of_a_link() -> None:
    rng = np.random.default_rng(0)
    csi = [(rng.normal(size=(32, 32)) + 1j * rng.normal(size=(32, 32))).astype("c8") for _ in "ab"]
    tiles = tiles_of(links_of(csi, np.zeros(2)))

    found = correlation(tiles, templates_of(tiles))

    template = csi[1][-4:, -8:]
    products = []
    for row in range(0, 32, 4):
        for tone in range(0, 32, 8):
            tile = csi[0][row : row + 4, tone : tone + 8]
            norm = np.linalg.norm(tile) * np.linalg.norm(template)
            products.append(abs(np.vdot(template, tile)) / norm)
    assert found.shape == (2, 2, 2)
    assert found[0, 1, 1] == pytest.approx(max(products), abs=ROUNDING)


def test_matched_filter_follows_two_paths_whose_phases_have_turned() -> None:
    strong, weak, turned = (0.0, 0.0, 1.0), (2.0, 0.0, 1.0), (2.0, 0.0, -1.0)
    links = links_of([csi_of(strong, weak), csi_of(strong, turned)], np.zeros(2))
    tiles = tiles_of(links)

    found = correlation(tiles, templates_of(tiles))[1, 0]

    at_its_own_place = np.abs(np.einsum("cp,cp->c", tiles[1, [0, -1]], tiles[0, [0, -1]].conj()))
    assert (at_its_own_place < 0.95).all()
    np.testing.assert_allclose(found, 1.0, atol=ROUNDING)


def test_templates_that_agree_in_one_corner_are_one_class_only_when_they_are_near() -> None:
    first, second, other = (csi_of((across, 3.0, 1.0)) for across in (2.0, 6.0, 10.0))
    same = [np.concatenate([first[:16], lower[16:]]) for lower in (second, second, other)]
    tiles = tiles_of(links_of(same, np.zeros(3)))

    def classes(x_m: float) -> list[int]:
        position_m = np.array([[0.0, 0.0], [2.0, 0.0], [x_m, 0.0]])
        found: list[int] = template_classes(tiles, position_m, least_match=0.95)[1].tolist()
        return found

    assert classes(1.0) == [0, 0, 0]
    assert classes(50.0) == [0, 0, 1]


def test_regions_are_the_two_corridors_when_each_has_a_path_of_its_own() -> None:
    train, street = corridors()

    regions, region = find_regions(train, seed=0, rule=RegionRule(num_clusters=2, least_links=6))

    assert len(regions) == 2
    assert (region == region[street.argmin()]).tolist() == (street == 0).tolist()
    np.testing.assert_array_equal(regions.of(train.measurements), region)


def test_corridors_of_alike_scalars_are_parted_by_their_path() -> None:
    train, street = corridors()
    links = dataclasses.replace(
        train.measurements,
        distance_m=np.zeros(len(train)),
        gain_db=np.zeros(len(train)),
        path_azimuth_rad=np.zeros((len(train), 1)),
    )

    regions, region = find_regions(dataclasses.replace(train, measurements=links), seed=0)

    assert len(regions) == 2
    assert len(set(zip(region.tolist(), street.tolist(), strict=True))) == 2


def test_link_of_a_corridor_with_few_links_goes_to_the_nearest_region() -> None:
    train, street = corridors()
    rows = np.concatenate([np.flatnonzero(street == 0), np.flatnonzero(street == 1)[:2]])

    regions, region = find_regions(
        train.take(rows), seed=0, rule=RegionRule(num_clusters=2, least_links=6)
    )

    assert len(regions) == 1
    assert (region == 0).all()


def test_links_of_small_classes_are_one_region_with_the_rest_of_their_cluster() -> None:
    train, street = corridors()
    waves = [
        csi_of((3.0 + k, 5.0, 1.0)) if s else csi_of((3.0, 5.0, 1.0)) for k, s in enumerate(street)
    ]
    links = links_of(waves, 100.0 * street)

    regions, region = find_regions(
        dataclasses.replace(train, measurements=links),
        seed=0,
        rule=RegionRule(num_clusters=2, least_links=6),
    )

    assert len(regions) == 2
    assert (region == region[street.argmin()]).tolist() == (street == 0).tolist()
    assert (
        regions.of(links_of([csi_of((3.0, 5.0, 1.0))], np.full(1, 100.0)))[0]
        == region[street == 1][0]
    )


def test_links_without_a_path_are_a_region_whatever_their_noise() -> None:
    train, street = corridors()
    quiet = dataclasses.replace(train.measurements, path_mask=street[:, None] == 0)

    regions, region = find_regions(
        dataclasses.replace(train, measurements=quiet), seed=0, rule=RegionRule(num_clusters=1)
    )
    silent = links_of([csi_of((30.0, 1.0, 1.0))], np.zeros(1), is_heard=False)

    assert regions.part[:, 0].min() == -1
    assert regions.of(silent)[0] == region[street == 1][0] != region[street == 0][0]


def test_links_without_the_angle_at_the_ue_are_refused_when_regions_were_found_by_it() -> None:
    train, street = corridors()
    angled = dataclasses.replace(train.measurements, ue_azimuth_rad=street.astype("f4"))
    regions, _ = find_regions(dataclasses.replace(train, measurements=angled), seed=0)

    with pytest.raises(ConfigError, match="found by 4 scalars, the links have 3: the angle at"):
        regions.of(train.measurements)


def test_published_image_is_cfr_and_amplitude_over_their_maxima_in_8_bits() -> None:
    csi = torch.from_numpy(np.stack([csi_of((3.0, 5.0, 1e-5), (9.0, 11.0, 4e-6j))]))
    floor = power_floor(csi, PANEL)

    found = as_published(csi_images(csi, PANEL, floor).unsqueeze(0))[0, 0]

    power = angle_delay(csi, PANEL)[0].abs()
    expected = [csi[0].real / csi.abs().max(), csi[0].imag / csi.abs().max(), power / power.max()]
    for channel, (image, step) in enumerate(zip(expected, (127.5, 127.5, 255.0), strict=True)):
        torch.testing.assert_close(found[channel], image, rtol=0, atol=0.6 / step)
        steps = found[channel] * step
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)


def test_published_image_of_a_link_without_signal_is_zero() -> None:
    image: Any = torch.zeros(1, 1, 3, 8, 8)

    assert torch.equal(as_published(image), image)
