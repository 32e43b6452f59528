"""Fields from the geometry of traced paths: Sionna's where both mean the same, and stored ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.samplings import UniformSampling
from raymark.dataset.schema import DIFFRACTION
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.fields import Antenna, itu_materials, path_amplitude
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.true_fields import TrueFields
from raymark.radio import BAND_PRESETS, FrontEnd, UserEquipment
from raymark.scenes import get_scene

BANDS = tuple(BAND_PRESETS[name] for name in ("2.6GHz", "6GHz", "28GHz"))
QUICK = TracerSettings(diffraction=True, fields="sionna", discovery="quick")

DIFFRACTED = {"street_canyon"}
"""Where diffracted paths are asked for: in cities they would take most of the time."""

POWER_DB = 2e-4
"""Of all paths together, half of it but in Florence; single ones differ where terms cancel."""
MEDIAN_DB = 3e-4
"""At 28 GHz the wave turns 40 times in a wall of 10 cm: 1e-5 of that, in float32, is 2e-4 dB."""
PHASE_RAD = 1e-3
FIELD_REL = 5e-3
"""Largest difference over free space: facets that are grazed, at float32 points."""
SHORTEST_M = 0.1
"""Of the legs of a path: float32 points 100 m away tell no direction over a centimetre."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scene with UEs and the paths that both kinds of fields are computed for."""

    ues_m: np.ndarray
    paths: TracedPaths
    ours: np.ndarray
    fields: TrueFields

    @property
    def is_specular(self) -> np.ndarray:
        return ~(self.paths.interaction == DIFFRACTION).any(axis=1)

    @property
    def shortest_leg_m(self) -> np.ndarray:
        """Shortest way between two points of interaction of a path; inf if it has but one."""
        legs_m = np.linalg.norm(np.diff(self.paths.vertex_m, axis=1), axis=2)
        return np.where(self.paths.interaction[:, 1:] > 0, legs_m, np.inf).min(axis=1)

    def amplitudes(self, rows: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray]:
        """Ours and Sionna's."""
        theirs = self.paths.amplitude
        return self.ours[band, rows].astype("c16"), theirs[band, rows].astype("c16")


FindCase = Callable[[str], Case]


@pytest.fixture(scope="module")
def find_case(tmp_path_factory: pytest.TempPathFactory) -> FindCase:
    known: dict[str, Case] = {}

    def find(name: str) -> Case:
        if name not in known:
            known[name] = traced(name, tmp_path_factory.mktemp(name))
        return known[name]

    return find


def traced(name: str, workspace: Path) -> Case:
    scene = get_scene(name)
    site = scene.sites[0]
    loaded = LoadedScene(scene.xml_path(workspace), FrontEnd())
    ues_m = sample_ues(UniformSampling(num_ues=60), loaded, site, seed=3, scene=name).position_m
    bs = (np.array(site.position_m), np.array(site.orientation_rad))
    settings = QUICK.model_copy(update={"diffraction": name in DIFFRACTED})
    paths = ChainSearch(loaded, *bs, settings).trace(ues_m, BANDS)
    fields = TrueFields(loaded, *bs)
    ours = fields.amplitudes(paths, ues_m, BANDS)
    return Case(ues_m=ues_m, paths=paths, ours=ours, fields=fields)


@pytest.mark.slow
@pytest.mark.parametrize("band", range(3), ids=[band.name for band in BANDS])
@pytest.mark.parametrize("scene", ["street_canyon", "munich", "florence"])
def test_specular_fields_are_sionnas(find_case: FindCase, scene: str, band: int) -> None:
    case = find_case(scene)
    rows = case.is_specular
    ours, theirs = case.amplitudes(rows, band)

    lengths_m = case.paths.delay_s[rows].astype("f8") * 299_792_458.0
    free_space = 299_792_458.0 / (4 * np.pi * BANDS[band].carrier_hz * lengths_m)
    assert np.unique((case.paths.interaction[rows] > 0).sum(axis=1)).tolist() == [0, 1, 2, 3, 4]
    total_db = 10 * np.log10((np.abs(ours) ** 2).sum() / (np.abs(theirs) ** 2).sum())
    assert abs(total_db) < POWER_DB
    assert np.median(np.abs(20 * np.log10(np.abs(ours / theirs)))) < MEDIAN_DB
    assert np.median(np.abs(np.angle(ours / theirs))) < PHASE_RAD
    is_told = case.shortest_leg_m[rows] > SHORTEST_M
    assert is_told.mean() > 0.98
    assert (np.abs(ours - theirs) / free_space)[is_told].max() < FIELD_REL


@pytest.mark.slow
def test_diffracted_fields_are_of_sionnas_size_but_not_its_fields(find_case: FindCase) -> None:
    case = find_case("street_canyon")
    ours, theirs = case.amplitudes(~case.is_specular, 0)

    ratio_db = 20 * np.log10(np.abs(ours) / np.abs(theirs))
    assert len(ratio_db) > 1000
    assert np.median(np.abs(ratio_db)) > 1  # what its wrong sign makes
    assert abs(np.median(ratio_db)) < 10


@pytest.mark.slow
def test_fields_are_the_same_bits_when_a_ue_is_alone(find_case: FindCase) -> None:
    case = find_case("street_canyon")
    ue = int(np.bincount(case.paths.ue_index).argmax())
    rows = np.flatnonzero(case.paths.ue_index == ue)
    alone = replace(case.paths.take(rows), ue_index=np.zeros(len(rows), dtype="i8"))

    found = case.fields.amplitudes(alone, case.ues_m[[ue]], BANDS)

    np.testing.assert_array_equal(found, case.ours[:, rows])


@pytest.mark.slow
def test_material_pattern_and_carrier_can_be_changed_when_geometry_is_stored(
    find_case: FindCase,
) -> None:
    case = find_case("street_canyon")
    geometry = case.fields.geometry(case.paths, case.ues_m)
    num_objects = int(geometry.material.max()) + 1
    glass = itu_materials(["glass"] * num_objects, 10e9, thickness_m=0.02)
    glass = replace(glass, thickness_m=glass.thickness_m.requires_grad_())

    found = path_amplitude(
        geometry, glass, 10e9, bs=Antenna(pattern="dipole"), ue=Antenna(polarization="H")
    )
    (found.abs() ** 2).sum().backward()

    assert bool(torch.isfinite(found.abs()).all())
    assert glass.thickness_m.grad is not None
    assert bool(torch.isfinite(glass.thickness_m.grad).all())
    assert float(glass.thickness_m.grad.abs().max()) > 0


@pytest.mark.slow
def test_bands_have_their_own_antennas_when_they_share_a_carrier(find_case: FindCase) -> None:
    case = find_case("street_canyon")
    paths, ues_m = case.paths.take(np.arange(300)), case.ues_m
    dipoles = FrontEnd(ue=UserEquipment(element_pattern="dipole"))
    other = BANDS[0].model_copy(update={"name": "dipole", "front_end": dipoles})

    found = case.fields.amplitudes(paths, ues_m, (BANDS[0], other, BANDS[1], BANDS[0]))

    np.testing.assert_array_equal(found[[0, 2]], case.ours[:2, :300])
    np.testing.assert_array_equal(found[3], found[0])
    np.testing.assert_array_equal(found[1], case.fields.amplitudes(paths, ues_m, (other,))[0])
    assert np.mean(found[1] != found[0]) > 0.9
