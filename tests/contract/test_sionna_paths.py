"""A user's own `Paths` as a dataset; the oracle is Sionna's own frequency response."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import trimesh

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.schema import DIFFRACTION, LOS, NLOS, OUTAGE, REFRACTION
from raymark.dataset.shard import read_shard
from raymark.dataset.verification import verify_dataset
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.errors import ConfigError, DatasetError
from raymark.generator.tracing.backend import rt
from raymark.interop.sionna_paths import PathsSource, merge_bands, save_paths
from raymark.radio import BAND_PRESETS, Band, FrontEnd, Panel
from raymark.radio.synthesis import subcarrier_frequencies, synthesize_csi

Save = Callable[..., Dataset]

ABOUT = PathsSource(name="mine", scene="yard", licence="CC0-1.0", attribution="a test")
FRONT_END = FrontEnd(panel=Panel(num_rows=2, num_cols=4, mirrors_back=True))

BS = {
    "bs0": ((0.0, 0.0, 10.0), (np.radians(25), np.radians(8), 0.0)),
    "bs1": ((60.0, 5.0, 12.0), (np.radians(190), 0.0, 0.0)),
}
UES_M = [(40.0, 10.0, 1.5), (60.0, 20.0, 3.0), (35.0, -10.0, 1.5), (84.0, -45.0, 1.5)]
"""The last stands behind the house, out of the reach of reflections."""
HOUSE_M = [[70.0, -60.0, 0.0], [80.0, -20.0, 25.0]]
WALL_Y_M = 30.0
THICKNESS_M = 0.3
"""Sionna gives up what goes through the house from the first transmitter at 28 GHz alone."""

FLOAT32_TURN = 2**-24
ARRAY_REL = 1e-5
DIRECTION_REL = 1e-5
"""Directions are stored as float32 angles, and turned into the panel's frame: a few roundings."""


def phase_tolerance_rad(carrier_hz: float, delay_s: np.ndarray) -> np.ndarray:
    """Sionna multiplies 2 pi f tau in float32 and reduces it: four roundings of the whole phase."""
    return 4 * FLOAT32_TURN * 2 * np.pi * carrier_hz * delay_s + ARRAY_REL + DIRECTION_REL


def load(folder: Path, bs: dict[str, Any] = BS, ues_m: list[Any] = UES_M) -> rt.Scene:
    scene = rt.load_scene(str(folder / "scene.xml"), merge_shapes=False)
    scene.tx_array = planar(2, 4, "tr38901")
    scene.rx_array = planar(1, 1, "iso")
    for name, (position, orientation) in bs.items():
        scene.add(
            rt.Transmitter(name, position=position, orientation=[float(x) for x in orientation])
        )
    place_ues(scene, ues_m)
    return scene


def planar(num_rows: int, num_cols: int, pattern: str, polarization: str = "V") -> rt.PlanarArray:
    return rt.PlanarArray(
        num_rows=num_rows, num_cols=num_cols, pattern=pattern, polarization=polarization
    )


def place_ues(scene: rt.Scene, ues_m: list[Any]) -> None:
    for name in scene.receivers:
        scene.remove(name)
    for i, position in enumerate(ues_m):
        scene.add(rt.Receiver(f"ue{i}", position=list(position)))


def solve(scene: rt.Scene, band: str, **settings: Any) -> rt.Paths:
    scene.frequency = BAND_PRESETS[band].carrier_hz
    options = {"max_depth": 2, "samples_per_src": 20_000, "refraction": False, **settings}
    return rt.PathSolver()(scene, **options)


def quad(corners_m: Any) -> trimesh.Trimesh:
    return trimesh.Trimesh(vertices=corners_m, faces=[[0, 1, 2], [0, 2, 3]], process=False)


@pytest.fixture(scope="module")
def yard(write_scene: Callable[..., Path]) -> Path:
    """A ground, a wall along the x axis and a house."""
    flat = quad([[-300, -300, 0], [300, -300, 0], [300, 300, 0], [-300, 300, 0]])
    wall = quad([[x, WALL_Y_M, z] for x, z in [(-300, 0), (300, 0), (300, 60), (-300, 60)]])
    meshes = {
        "ground": (flat, "concrete"),
        "wall": (wall, "brick"),
        "house": (trimesh.creation.box(bounds=HOUSE_M), "marble"),
    }
    return write_scene("yard", meshes, [], thickness_m=THICKNESS_M)


@pytest.fixture(scope="module")
def scene(yard: Path) -> rt.Scene:
    return load(yard)


@pytest.fixture(scope="module")
def traced(scene: rt.Scene) -> dict[str, rt.Paths]:
    """Two bands with reflection alone, from two transmitters to four receivers."""
    return {band: solve(scene, band) for band in ("6GHz", "28GHz")}


@pytest.fixture
def save(tmp_path: Path, scene: rt.Scene) -> Save:
    """Save paths of the shared scene, unless told otherwise, and open the dataset."""

    def run(paths: Any, **changes: Any) -> Dataset:
        given = {"scene": scene, "front_end": FRONT_END, "about": ABOUT, **changes}
        save_paths(paths, tmp_path / "out", **given)
        assert verify_dataset(tmp_path / "out") == []
        return open_dataset(tmp_path / "out")

    return run


def require_sionnas_response(
    data: Dataset, band: str, site: str, paths: rt.Paths, transmitter: int
) -> np.ndarray:
    """Compare the CSI of a site's links with `Paths.cfr`; return its size."""
    selection = data.select(scene="yard", band=band, site=site)
    batch = selection.path_batch(0, len(selection))
    csi = synthesize_csi(batch, selection.front_end.panel).numpy()
    frequencies = subcarrier_frequencies(selection.band).tolist()
    theirs = paths.cfr(frequencies, normalize_delays=False, out_type="numpy")
    expected = theirs[:, 0, transmitter, :, 0, :]
    phase_rad = phase_tolerance_rad(selection.band.carrier_hz, batch.delay_s.numpy())
    bound = (batch.amplitude.abs().numpy() * phase_rad).sum(axis=1)
    assert csi.shape == expected.shape
    assert (np.abs(csi - expected) <= bound[:, None, None]).all()
    size = np.abs(expected).max(axis=(1, 2))
    assert (bound <= 0.1 * size).all()  # a wrong sign, order or orientation cannot pass
    return size


@pytest.mark.parametrize("settings", [{}, {"diffraction": True}], ids=["reflection", "diffraction"])
def test_csi_is_sionnas_cfr_when_paths_of_two_bands_are_saved(
    scene: rt.Scene, save: Save, settings: dict[str, Any]
) -> None:
    traced = {band: solve(scene, band, **settings) for band in ("6GHz", "28GHz")}

    data = save(traced)

    assert (data.scenes, data.bands) == (("yard",), ("6GHz", "28GHz"))
    for band, paths in traced.items():
        for transmitter, site in enumerate(BS):
            size = require_sionnas_response(data, band, site, paths, transmitter)
            assert (size[:3] > 0).all()
            assert (size[3] > 0) == bool(settings)  # only diffraction comes behind the wall


def test_labels_and_interactions_are_sionnas_when_saved(
    traced: dict[str, rt.Paths], save: Save
) -> None:
    data = save(traced)

    paths = traced["6GHz"]
    kinds = paths.interactions.numpy()
    for transmitter, site in enumerate(BS):
        selection = data.select(scene="yard", band="6GHz", site=site)
        table = selection.path_table(0, len(UES_M))
        for ue in range(len(UES_M)):
            valid = paths.valid.numpy()[ue, transmitter]
            counts = (kinds[:, ue, transmitter, valid] > 0).sum(axis=0)
            rows = slice(*table.path_offset[ue : ue + 2])
            own = (table.interaction[rows] > 0).sum(axis=1)
            assert sorted(own) == sorted(counts)
            expected = (LOS if 0 in counts else NLOS) if len(counts) else OUTAGE
            assert selection.los[ue] == expected
    assert selection.los.tolist() == [LOS, LOS, LOS, OUTAGE]


def test_sites_and_ues_are_the_devices_when_saved(traced: dict[str, rt.Paths], save: Save) -> None:
    data = save(traced)

    campaign = data.manifest.campaign
    assert campaign.sites_share_ues
    assert campaign.sampling.source == "Sionna RT 2.2.0 PathSolver"
    assert campaign.tracer.max_depth == 2
    assert (campaign.tracer.specular_reflection, campaign.tracer.diffraction) == (True, False)
    assert campaign.front_end == FRONT_END
    for record, (name, (position, orientation)) in zip(
        data.manifest.sites, BS.items(), strict=True
    ):
        assert (record.site, record.licence, record.attribution) == (name, "CC0-1.0", "a test")
        np.testing.assert_allclose(record.position_m, position, atol=1e-5)
        yaw, *tilts = orientation
        expected = [np.angle(np.exp(1j * yaw)), *tilts]
        np.testing.assert_allclose(record.orientation_rad, expected, atol=1e-6)
        selection = data.select(scene="yard", band="28GHz", site=name)
        np.testing.assert_allclose(selection.position_m, UES_M, atol=1e-5)
    assert "CC0-1.0" in (data.folder / "CARD.md").read_text()


def test_objects_have_their_names_when_saved(scene: rt.Scene, save: Save) -> None:
    data = save({"6GHz": solve(scene, "6GHz", diffraction=True, refraction=True)})

    shard = data.manifest.shards[0]
    detail = read_shard(data.folder / shard.file("detail"), "detail")
    interaction = data.load_shard(shard)["path/interaction"]
    names = read_names(data.folder / shard.file("detail"))
    touched = {"ground": 0, "wall": 0, "house": 0}
    for row, column in zip(*np.nonzero(interaction), strict=True):
        name = names["objects"][detail["path/object"][row, column]]
        material = names["materials"][detail["path/material"][row, column]]
        vertex = detail["path/vertex_m"][row, column]
        assert material == {"ground": "concrete", "wall": "brick", "house": "marble"}[name]
        planes = {"ground": [vertex[2]], "wall": [vertex[1] - WALL_Y_M], "house": vertex - HOUSE_M}
        assert np.abs(planes[name]).min() == pytest.approx(0, abs=1e-3)
        assert 0 <= detail["path/primitive"][row, column] < (12 if name == "house" else 2)
        touched[name] += 1
    assert min(touched.values()) > 2
    absent = interaction == 0
    assert (detail["path/object"][absent] == -1).all()
    assert (detail["path/primitive"][absent] == -1).all()
    assert not detail["path/vertex_m"][absent].any()


def read_names(path: Path) -> dict[str, list[str]]:
    with h5py.File(path) as file:
        return {
            key: [x if isinstance(x, str) else x.decode() for x in file.attrs[key]]
            for key in ("objects", "materials")
        }


def test_response_is_that_of_the_centre_when_the_array_was_any(
    scene: rt.Scene, tmp_path: Path
) -> None:
    """Sionna's own trace with a single element says what is left when the array is taken out."""
    amplitudes = []
    for i, (num_rows, num_cols) in enumerate([(1, 1), (5, 3)]):
        scene.tx_array = planar(num_rows, num_cols, "tr38901")
        save_paths(
            {"28GHz": solve(scene, "28GHz")},
            tmp_path / str(i),
            scene=scene,
            front_end=FRONT_END,
            about=ABOUT,
        )
        selection = open_dataset(tmp_path / str(i)).select(scene="yard", band="28GHz")
        amplitudes.append(selection.path_table(0, len(selection)).amplitude)
    scene.tx_array = planar(2, 4, "tr38901")

    assert len(amplitudes[0]) > 20
    np.testing.assert_allclose(amplitudes[1], amplitudes[0], rtol=1e-4)


def test_groups_of_receivers_are_one_dataset_when_given_as_a_list(
    yard: Path, traced: dict[str, rt.Paths], save: Save
) -> None:
    """The usual way to trace many UEs: a few receivers at a time, here with fewer bounces."""
    scene = load(yard)
    groups = []
    for ues_m in (UES_M[:1], UES_M[1:3]):
        place_ues(scene, ues_m)
        groups.append(solve(scene, "6GHz"))
    place_ues(scene, UES_M[3:])
    groups.append(solve(scene, "6GHz", max_depth=0))  # nothing arrives there at all

    data = save({"6GHz": groups}, scene=scene)

    for transmitter, site in enumerate(BS):
        require_sionnas_response(data, "6GHz", site, traced["6GHz"], transmitter)
    selection = data.select(scene="yard", band="6GHz", site="bs1")
    np.testing.assert_allclose(selection.position_m, UES_M, atol=1e-5)


def test_shorter_lists_of_interactions_are_filled_when_groups_differ_in_depth(
    yard: Path, traced: dict[str, rt.Paths], save: Save
) -> None:
    direct = solve(load(yard, ues_m=UES_M[:3]), "6GHz", max_depth=0)

    data = save({"6GHz": [direct, traced["6GHz"]]})

    shard = data.manifest.shards[0]
    arrays = {**data.load_shard(shard), **data.load_shard(shard, "detail")}
    assert np.diff(arrays["link/path_offset"])[:3].tolist() == [1, 1, 1]
    fills = {"interaction": 0, "vertex_m": 0, "object": -1, "primitive": -1, "material": -1}
    for name, fill in fills.items():
        assert arrays[f"path/{name}"].shape[1] == 2
        assert (arrays[f"path/{name}"][:3] == fill).all()


def some_paths(delay_s: Any, amplitude: Any) -> TracedPaths:
    """Paths to one UE that differ in their delays alone."""
    size = len(delay_s)
    along_x = np.tile(np.array([1, 0, 0], dtype="f4"), (size, 1))
    return TracedPaths(
        ue_index=np.zeros(size, dtype="i8"),
        delay_s=np.array(delay_s, dtype="f4"),
        direction_bs=along_x,
        direction_ue=-along_x,
        interaction=np.full((size, 1), DIFFRACTION, dtype="u1"),
        vertex_m=np.zeros((size, 1, 3), dtype="f4"),
        object_index=np.zeros((size, 1), dtype="i2"),
        primitive=np.arange(size, dtype="i4")[:, None],
        wedge=np.zeros((size, 13), dtype="f4"),
        amplitude=np.array(amplitude, dtype="c8")[None],
    )


def test_strongest_remains_at_each_band_when_nothing_tells_paths_apart() -> None:
    first = some_paths([1e-7, 2e-7, 2.00001e-7], [1, 2, 3j])
    second = some_paths([3e-7, 2e-7, 2.00002e-7, 1.00001e-7], [9, -5, 4, 6])

    merged, found = merge_bands([first, second])

    order = np.argsort(merged.delay_s)
    np.testing.assert_allclose(merged.delay_s[order], [1e-7, 2e-7, 3e-7], rtol=1e-4)
    assert merged.amplitude[:, order].tolist() == [[1, 3j, 0], [6, -5, 9]]
    assert found[:, order].tolist() == [[True, True, False], [True, True, True]]
    assert merged.primitive[order, 0].tolist() == [0, 2, 0]  # of the first band that has it


def reordered(paths: rt.Paths, order: Any) -> Any:
    """What reads like `Paths` with its path axis in another order, or with some of it."""

    def take(tensor: Any, axis: int = -1) -> Any:
        values = np.take(tensor.numpy(), order, axis=axis)
        return SimpleNamespace(numpy=lambda: values, shape=values.shape)

    names = ("tau", "valid", "theta_t", "phi_t", "theta_r", "phi_r")
    by_depth = ("interactions", "objects", "primitives")
    same = ("sources", "targets", "tx_array", "rx_array", "synthetic_array", "num_rx")
    return SimpleNamespace(
        **{name: take(getattr(paths, name)) for name in names + by_depth},
        **{name: getattr(paths, name) for name in same},
        a=tuple(take(part) for part in paths.a),
        vertices=take(paths.vertices, axis=-2),
        cir=lambda **given: (np.take(paths.cir(**given)[0], order, axis=4), None),
    )


def test_bands_are_matched_when_their_paths_are_in_another_order(
    traced: dict[str, rt.Paths], save: Save
) -> None:
    count = traced["28GHz"].valid.shape[-1]
    order = np.random.default_rng(0).permutation(count)

    data = save({"6GHz": traced["6GHz"], "28GHz": reordered(traced["28GHz"], order)})

    for transmitter, site in enumerate(BS):
        require_sionnas_response(data, "6GHz", site, traced["6GHz"], transmitter)
        require_sionnas_response(data, "28GHz", site, traced["28GHz"], transmitter)


def test_paths_through_walls_are_zero_when_a_band_lacks_them(scene: rt.Scene, save: Save) -> None:
    traced = {band: solve(scene, band, refraction=True) for band in ("6GHz", "28GHz")}

    with pytest.raises(
        ConfigError, match=r"'bs0': 1 of \d+ paths were not found at band '28GHz'.*allow_missing"
    ):
        save(traced)
    data = save(traced, allow_missing=True)

    for transmitter, site in enumerate(BS):
        assert require_sionnas_response(data, "6GHz", site, traced["6GHz"], transmitter)[3] > 0
        size = require_sionnas_response(data, "28GHz", site, traced["28GHz"], transmitter)
        assert (size[3] == 0) == (site == "bs0")
    table = data.select(scene="yard", band="28GHz", site="bs0").path_table(3, 4)
    assert (REFRACTION in table.interaction, table.amplitude.tolist()) == (True, [0])
    assert any("1 of these were not found at every band" in note for note in data.manifest.notes)


def test_paths_are_dropped_and_counted_when_they_are_too_long(
    traced: dict[str, rt.Paths], save: Save
) -> None:
    data = save(traced, about=ABOUT.model_copy(update={"max_path_length_m": 60.0}))

    valid = traced["6GHz"].valid.numpy()
    length_m = traced["6GHz"].tau.numpy() * 299_792_458.0
    too_long = valid & (length_m > 60)
    stored = data.select(scene="yard", band="6GHz").path_table(0, 8)
    assert (too_long.sum() > 0, len(stored.delay_s)) == (True, valid.sum() - too_long.sum())
    expected = f"{too_long.sum()} of {valid.sum()} paths are longer than 60 m"
    assert any(note.startswith(expected) for note in data.manifest.notes)
    assert (data.load_shard(data.manifest.shards[0])["link/truncated_power_db"][:, 0] > -60).all()


def test_longest_path_fits_the_bands_when_no_limit_is_given(
    traced: dict[str, rt.Paths], save: Save
) -> None:
    narrow = Band(name="wide", carrier_hz=6e9, bandwidth_hz=2e8, num_subcarriers=64)

    data = save({narrow: traced["6GHz"], "28GHz": traced["28GHz"]})

    # 64 tones over 200 MHz repeat after c * 64 / 200 MHz = 95.93 m.
    assert data.manifest.campaign.tracer.max_path_length_m == pytest.approx(95.9)


def test_carrier_is_told_when_paths_are_under_another_band(
    traced: dict[str, rt.Paths], save: Save
) -> None:
    with pytest.raises(ConfigError, match=r"band '28GHz': the phases .* not those .* 28 GHz"):
        save({"6GHz": traced["6GHz"], "28GHz": traced["6GHz"]})


def test_arrays_are_refused_when_they_have_more_than_one_port(yard: Path, save: Save) -> None:
    scene = load(yard)
    with pytest.raises(ConfigError, match=r"synthetic_array=False.*synthetic_array=True"):
        save({"6GHz": solve(scene, "6GHz", synthetic_array=False)}, scene=scene)
    scene.rx_array = planar(1, 2, "iso")
    with pytest.raises(ConfigError, match="rx_array has 2 antennas, raymark's UEs have one"):
        save({"6GHz": solve(scene, "6GHz")}, scene=scene)
    scene.rx_array = planar(1, 1, "iso", "VH")
    with pytest.raises(ConfigError, match="rx_array has 2 polarizations, raymark keeps one"):
        save({"6GHz": solve(scene, "6GHz")}, scene=scene)
    scene.rx_array = planar(1, 1, "iso")
    scene.tx_array = planar(2, 2, "tr38901", "cross")
    with pytest.raises(ConfigError, match="tx_array has 2 polarizations"):
        save({"6GHz": solve(scene, "6GHz")}, scene=scene)


def test_scene_is_refused_when_its_transmitters_have_changed(
    yard: Path, traced: dict[str, rt.Paths], save: Save
) -> None:
    turned = {**BS, "bs0": (BS["bs0"][0], (0.0, 0.0, 0.0))}
    with pytest.raises(ConfigError, match=r"'bs0': the phases across tx_array.*\[0.0, 0.0, 0.0\]"):
        save(traced, scene=load(yard, turned))
    moved = {**BS, "bs0": ((0.0, 0.0, 11.0), BS["bs0"][1])}
    with pytest.raises(ConfigError, match=r"transmitters \(bs0, bs1\) do not stand where.*10\.0"):
        save(traced, scene=load(yard, moved))
    with pytest.raises(ConfigError, match=r"transmitters \(none\) do not stand where"):
        save(traced, scene=load(yard, {}))


@pytest.mark.parametrize(
    ("name", "orientation", "message"),
    [
        ("bs", (0.0, 0.0, 0.3), r"transmitter 'bs' is rolled by 17\.2 deg.*roll 0"),
        ("bs 1", (0.0, 0.0, 0.0), r"transmitter 'bs 1': name"),
        ("bs", (0.0, 2.0, 0.0), r"less than or equal to 90.*transmitter 'bs': downtilt_deg"),
    ],
)
def test_transmitter_is_refused_when_it_can_be_no_site(
    yard: Path, save: Save, name: str, orientation: Any, message: str
) -> None:
    scene = load(yard, {name: ((0.0, 0.0, 10.0), orientation)})

    with pytest.raises(ConfigError, match=message):
        save({"6GHz": solve(scene, "6GHz")}, scene=scene)


def test_bands_are_refused_when_their_devices_differ(
    yard: Path, traced: dict[str, rt.Paths], save: Save
) -> None:
    scene = load(yard, ues_m=[*UES_M[1:], UES_M[0]])
    with pytest.raises(
        ConfigError, match=r"band '28GHz': its receivers are not those of the first"
    ):
        save({"6GHz": traced["6GHz"], "28GHz": solve(scene, "28GHz")})
    place_ues(scene, UES_M[:2])
    with pytest.raises(ConfigError, match="its receivers are not those"):
        save({"6GHz": traced["6GHz"], "28GHz": solve(scene, "28GHz")})
    scene = load(yard, {"bs0": BS["bs0"]})
    with pytest.raises(ConfigError, match="its transmitters are not those"):
        save({"6GHz": traced["6GHz"], "28GHz": solve(scene, "28GHz")})


def test_bands_are_refused_when_one_lacks_paths(traced: dict[str, rt.Paths], save: Save) -> None:
    fewer = reordered(traced["28GHz"], [0, 1])

    with pytest.raises(ConfigError, match=r"paths were not found at band '28GHz'; trace all bands"):
        save({"6GHz": traced["6GHz"], "28GHz": fewer})


def test_paths_are_refused_when_there_are_none(scene: rt.Scene, save: Save) -> None:
    nothing = solve(scene, "6GHz", los=False, specular_reflection=False)

    for paths in ({"6GHz": nothing}, {"6GHz": []}, {}):
        with pytest.raises(ConfigError, match="no valid path at all"):
            save(paths)


def test_paths_are_refused_when_they_are_none_of_sionnas(save: Save) -> None:
    with pytest.raises(ConfigError, match=r"band '6GHz': expected a Paths object .* got str"):
        save({"6GHz": "paths.pkl"})
    with pytest.raises(ConfigError, match="unknown band '6 gigs'"):
        save({"6 gigs": None})


def test_paths_are_refused_when_they_belong_to_another_scene(
    traced: dict[str, rt.Paths], scene: rt.Scene, save: Save
) -> None:
    devices = {"transmitters": scene.transmitters}
    bare = SimpleNamespace(objects={"ground": scene.objects["ground"]}, **devices)

    with pytest.raises(
        ConfigError, match=r"an object with the number \d+, which the scene does not"
    ):
        save(traced, scene=bare)


def test_paths_are_refused_when_an_interaction_is_unknown(
    traced: dict[str, rt.Paths], save: Save
) -> None:
    paths = reordered(traced["6GHz"], range(traced["6GHz"].valid.shape[-1]))
    kinds = paths.interactions.numpy() * np.uint32(16)  # SPECULAR becomes Sionna's SENSING
    paths.interactions = SimpleNamespace(numpy=lambda: kinds, shape=kinds.shape)

    with pytest.raises(ConfigError, match="an interaction has the code 16"):
        save({"6GHz": paths})


def test_limit_is_refused_when_delays_would_alias(traced: dict[str, rt.Paths], save: Save) -> None:
    with pytest.raises(ConfigError, match=r"delay aliasing at bands\[0\].*at save_paths"):
        save(traced, about=ABOUT.model_copy(update={"max_path_length_m": 400.0}))


def test_folder_is_kept_when_it_exists(
    traced: dict[str, rt.Paths], save: Save, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()

    with pytest.raises(DatasetError, match="out exists; choose another folder"):
        save(traced)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


@pytest.mark.slow
def test_module_loads_no_sionna_when_it_is_imported() -> None:
    code = (
        "import sys, raymark.interop.sionna_paths; "
        "print({'sionna', 'mitsuba', 'drjit'} & set(sys.modules))"
    )

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert child.stdout.strip() == "set()"
