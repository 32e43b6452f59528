"""DeepMIMO's own package reads what we export, and we read what its converter writes.

The package lives in an environment of its own, as it asks for another NumPy.
"""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
import yaml
from command_line import raymark

from raymark.dataset import Dataset, Selection, open_dataset
from raymark.dataset.verification import verify_dataset
from raymark.generator.tracing.backend import rt
from raymark.interop.deepmimo_choice import DeepmimoImport
from raymark.interop.deepmimo_export import export_deepmimo
from raymark.interop.deepmimo_import import import_deepmimo
from raymark.interop.deepmimo_matrices import isotropic_amplitude
from raymark.radio import Panel
from raymark.radio.synthesis import panel_direction, synthesize_csi

pytestmark = pytest.mark.slow

PACKAGE = "deepmimo==4.0.5"
INSTALL_S = 900
SPEED_OF_LIGHT_M_S = 299_792_458.0
NUM_TONES, BANDWIDTH_HZ = 64, 50e6
MATRICES = ("power", "phase", "delay", "aoa_az", "aoa_el", "aod_az", "aod_el", "inter", "inter_pos")

READER = """
import json, sys
import numpy as np
import deepmimo

name, out, folder, shape = sys.argv[1:5]
if folder:
    deepmimo.config.set("scenarios_folder", folder)
loaded = deepmimo.load(name, max_paths=256)
transmitters = loaded.datasets if type(loaded).__name__ == "MacroDataset" else [loaded]
sites = transmitters[0].rt_params.raw_params.raymark.sites
ofdm = {"subcarriers": 64, "selected_subcarriers": np.arange(64), "bandwidth": 50e6}
every = {"ofdm": ofdm, "num_paths": 256}
arrays = {}
for i, each in enumerate(transmitters):
    for key in [*json.loads(sys.argv[5]), "rx_pos", "tx_pos", "los", "num_paths", "distance"]:
        if each[key] is not None:
            arrays[f"{key}-{i}"] = np.asarray(each[key])
    site = sites[each.txrx["tx_set_id"]]
    one = deepmimo.ChannelParameters(
        bs_antenna={"shape": np.array([1, 1])}, ue_antenna={"shape": np.array([1, 1])}, **every
    )
    arrays[f"one-{i}"] = np.asarray(each.compute_channels(one))
    panel = {
        "shape": np.array(json.loads(shape)),
        "spacing": 0.5,
        "rotation": np.array([0, site["downtilt_deg"], site["azimuth_deg"]]),
    }
    array = deepmimo.ChannelParameters(
        bs_antenna=panel, ue_antenna={"shape": np.array([1, 1])}, **every
    )
    arrays[f"panel-{i}"] = np.asarray(each.compute_channels(array))
    arrays[f"set-{i}"] = each.txrx["tx_set_id"]
deepmimo.summary(name)
np.savez(out, **arrays)
"""

CONVERTER = """
import sys
import deepmimo

name = deepmimo.convert(sys.argv[1], scenario_name="converted", overwrite=True, vis_scene=False)
assert name == "converted", name
"""

RunPython = Callable[..., str]


def rectangle(corner: Any, edge_1: Any, edge_2: Any) -> trimesh.Trimesh:
    a, u, v = (np.asarray(x, dtype=float) for x in (corner, edge_1, edge_2))
    corners = [a, a + u, a + u + v, a + v]
    return trimesh.Trimesh(vertices=corners, faces=[[0, 1, 2], [0, 2, 3]], process=False)


@pytest.fixture(scope="module")
def deepmimo_python(tmp_path_factory: pytest.TempPathFactory) -> RunPython:
    """Run a script where the package is installed."""
    folder = tmp_path_factory.mktemp("deepmimo") / "venv"
    python = folder / "bin" / "python"
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    for command in (
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", *options, PACKAGE],
    ):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{PACKAGE} was not installed within {INSTALL_S} s")
        if done.returncode:
            pytest.skip(f"{PACKAGE} cannot be installed: {done.stderr.strip()[-300:]}")

    def run(script: str, *arguments: object, cwd: Path) -> str:
        done = subprocess.run(
            [python, "-c", script, *map(str, arguments)],
            cwd=cwd,
            env={"MPLBACKEND": "agg", "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def two_way_dataset(ground_and_wall: Path, make_dataset: Callable[..., Dataset]) -> Dataset:
    """Two turned and tilted sites that see the same UEs beside a wall, at two bands."""
    sites = [
        {"name": "west", "position_m": [-45.0, 5.0, 14.0], "azimuth_deg": 20.0, "downtilt_deg": 7},
        {"name": "east", "position_m": [50.0, 0.0, 9.0], "azimuth_deg": -170, "downtilt_deg": -3},
    ]
    return make_dataset(
        {
            "name": "two-way",
            "scenes": [{"name": str(ground_and_wall), "sites": sites}],
            "bands": ["2.6GHz", "28GHz"],
            "sampling": {"kind": "uniform", "num_ues": 20, "max_range_m": 80.0},
            "shared_ues": True,
            "tracer": {"max_depth": 2, "diffraction": True},
        }
    )


def read_back(
    run: RunPython, folder: Path, panel: Panel, *, by_config: bool = False
) -> dict[str, np.ndarray]:
    """Load a scenario in `deepmimo_scenarios` with the package; return its arrays."""
    out = folder.parents[1] / f"{folder.name}.npz"
    shape = json.dumps([panel.num_cols, panel.num_rows])
    where = str(folder.parent) if by_config else ""
    cwd = folder.parents[1] if not by_config else folder
    run(READER, folder.name, out, where, shape, json.dumps(MATRICES), cwd=cwd)
    with np.load(out) as file:
        return {name: file[name] for name in file.files}


def csi_of(links: Selection, panel: Panel, *, isotropic: bool, from_corner: bool) -> np.ndarray:
    """Our own CSI at DeepMIMO's tones, f_c + k B / N, and with its numbering of antennas.

    DeepMIMO counts positions from the antenna at the lower left, we from the panel's centre.
    """
    table = links.path_table(0, len(links))
    batch = links.path_batch(0, len(links))
    values = isotropic_amplitude(links, table) if isotropic else table.amplitude
    amplitude = torch.zeros_like(batch.amplitude)
    amplitude[batch.mask] = torch.from_numpy(np.asarray(values, dtype="c8"))
    if from_corner:
        direction = panel_direction(
            batch.zenith_bs_rad.double(), batch.azimuth_bs_rad.double(), batch.orientation_rad
        )
        steps = torch.tensor([0, (panel.num_cols - 1) / 2, (panel.num_rows - 1) / 2]).double()
        turns = panel.spacing_wavelengths * (direction @ steps)
        amplitude = (amplitude * torch.exp(2j * torch.pi * turns)).to(torch.complex64)
    twice = {"num_subcarriers": 2 * NUM_TONES, "bandwidth_hz": 2 * BANDWIDTH_HZ}
    batch = replace(batch, amplitude=amplitude, band=links.band.model_copy(update=twice))
    open_panel = panel.model_copy(update={"mirrors_back": True})  # as DeepMIMO's arrays are
    csi = synthesize_csi(batch, open_panel, late_paths="aliased").numpy()[:, :, NUM_TONES:]
    by_place = csi.reshape(len(csi), panel.num_cols, panel.num_rows, NUM_TONES)
    return by_place[:, :, ::-1].transpose(0, 2, 1, 3).reshape(csi.shape)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest error of a link's channel, relative to the channel; links in outage must be zero."""
    norm = np.linalg.norm(expected.reshape(len(expected), -1), axis=1)
    error = np.linalg.norm((found - expected).reshape(len(expected), -1), axis=1)
    assert not error[norm == 0].any()
    return float((error[norm > 0] / norm[norm > 0]).max())


CSI_REL = 1e-4
"""Float32 on both sides: powers in dB, phases in degrees, tones, and paths that nearly cancel."""


@pytest.mark.parametrize("band", ["2.6GHz", "28GHz"])
def test_package_reads_what_the_dataset_holds(
    deepmimo_python: RunPython, two_way_dataset: Dataset, tmp_path: Path, band: str
) -> None:
    folder = tmp_path / "deepmimo_scenarios" / "two_way"
    folder.parent.mkdir()
    export_deepmimo(two_way_dataset, folder, scene="ground_and_wall", band=band)

    arrays = read_back(deepmimo_python, folder, Panel())

    for i, name in enumerate(("west", "east")):
        links = two_way_dataset.select(scene="ground_and_wall", band=band, site=name)
        check_matrices(
            links, {key: arrays[f"{key}-{i}"] for key in (*MATRICES, "los", "num_paths")}
        )
        assert arrays[f"set-{i}"] == i
        np.testing.assert_array_equal(arrays[f"rx_pos-{i}"], links.position_m)
        np.testing.assert_array_equal(arrays[f"tx_pos-{i}"], [links.sites[0].position_m])
        for key, panel in (("one", Panel(num_rows=1, num_cols=1)), ("panel", Panel())):
            # DeepMIMO divides the power among the tones.
            found = arrays[f"{key}-{i}"][:, 0] * np.sqrt(NUM_TONES)
            expected = csi_of(links, panel, isotropic=True, from_corner=True)
            assert found.shape == expected.shape
            assert relative_error(found, expected) < CSI_REL


def check_matrices(links: Selection, arrays: dict[str, np.ndarray]) -> None:
    """Compare every path of every link with the dataset, whatever the order of the paths."""
    table = links.path_table(0, len(links))
    points_m = links.detail_table(0, len(links)).vertex_m
    amplitude = isotropic_amplitude(links, table)
    np.testing.assert_array_equal(arrays["los"], links.los)
    np.testing.assert_array_equal(arrays["num_paths"], np.diff(table.path_offset))
    for link, (start, stop) in enumerate(
        zip(table.path_offset[:-1], table.path_offset[1:], strict=True)
    ):
        theirs = {key: arrays[key][link, : stop - start].astype("f8") for key in MATRICES}
        ours = np.arange(start, stop)[np.argsort(table.delay_s[start:stop], kind="stable")]
        order = np.argsort(theirs["delay"], kind="stable")
        theirs = {key: values[order] for key, values in theirs.items()}
        np.testing.assert_array_equal(theirs["delay"], table.delay_s[ours].astype("f8"))
        for key, angle_rad in (
            ("aod_az", table.azimuth_bs_rad),
            ("aod_el", table.zenith_bs_rad),
            ("aoa_az", table.azimuth_ue_rad),
            ("aoa_el", table.zenith_ue_rad),
        ):
            np.testing.assert_allclose(np.radians(theirs[key]), angle_rad[ours], atol=1e-6)
        received = 10 ** (theirs["power"] / 20) * np.exp(1j * np.radians(theirs["phase"]))
        turns = links.band.carrier_hz * theirs["delay"]
        np.testing.assert_allclose(
            received * np.exp(2j * np.pi * turns), amplitude[ours], rtol=1e-5
        )
        for path, row in enumerate(ours):
            kinds = table.interaction[row][table.interaction[row] > 0]
            code = int("".join({1: "1", 2: "3", 4: "4", 8: "2"}[k] for k in kinds.tolist()) or "0")
            assert theirs["inter"][path] == code
            np.testing.assert_array_equal(
                theirs["inter_pos"][path][: len(kinds)], points_m[row, : len(kinds)]
            )


def test_package_makes_our_csi_when_patterns_are_kept(
    deepmimo_python: RunPython, small_dataset: Dataset, tmp_path: Path
) -> None:
    """The scenario lies elsewhere, and is found by the package's own setting."""
    folder = tmp_path / "elsewhere" / "kept"
    folder.parent.mkdir()
    one = Panel(num_rows=1, num_cols=1)
    export_deepmimo(
        small_dataset, folder, scene="street_canyon", band="6GHz", keep_element_patterns=True
    )

    arrays = read_back(deepmimo_python, folder, one, by_config=True)

    links = small_dataset.select(scene="street_canyon", band="6GHz")
    np.testing.assert_array_equal(arrays["los-0"], links.los)
    expected = csi_of(links, one, isotropic=False, from_corner=False)
    assert relative_error(arrays["one-0"][:, 0] * np.sqrt(NUM_TONES), expected) < CSI_REL


def test_package_reads_a_scenario_without_points(
    deepmimo_python: RunPython, small_dataset: Dataset, tmp_path: Path
) -> None:
    bare = open_dataset(small_dataset.folder)
    bare.manifest = bare.manifest.model_copy(update={"left_out": ("detail",)})
    folder = tmp_path / "deepmimo_scenarios" / "bare"
    folder.parent.mkdir()
    export_deepmimo(bare, folder, scene="street_canyon", band="6GHz")

    arrays = read_back(deepmimo_python, folder, Panel(num_rows=1, num_cols=1))

    assert "inter_pos-0" not in arrays
    assert np.isfinite(arrays["one-0"]).all()


def as_numpy(paths: rt.Paths) -> dict[str, np.ndarray]:
    """What DeepMIMO's exporter takes of Sionna's paths."""
    names = ("tau", "phi_r", "phi_t", "theta_r", "theta_t", "vertices", "interactions")
    arrays = {name: np.array(getattr(paths, name)) for name in names}
    real, imag = (np.array(part) for part in paths.a)
    ends = {name: np.array(getattr(paths, name)).T for name in ("sources", "targets")}
    return {**arrays, **ends, "a": real + 1j * imag}


def write_sionna_export(folder: Path, paths: rt.Paths, carrier_hz: float) -> None:
    """Write the files that DeepMIMO's converter expects, in plain NumPy."""
    material = {
        "relative_permittivity": 5.0,
        "conductivity": 0.1,
        "scattering_pattern": "LambertianPattern",
        "scattering_coefficient": 0.0,
        "xpd_coefficient": 0.0,
        "alpha_r": None,
        "alpha_i": None,
        "lambda_": None,
    }
    settings: dict[str, Any] = {
        "frequency": carrier_hz,
        "max_depth": 2,
        "los": True,
        "reflection": True,
        "diffraction": False,
        "scattering": False,
        "num_samples": 1000,
        "synthetic_array": True,
        "raytracer_version": "2.2.0",
    }
    for end in ("tx", "rx"):
        settings |= {f"{end}_array_{key}": 1 for key in ("size", "num_ant")}
        settings[f"{end}_array_ant_pos"] = [[0, 0, 0]]
    corners = np.array([[-50.0, 0, 0], [50, 0, 0], [0, 60, 0], [0, 0, 40]])
    files = {
        "paths": [as_numpy(paths)],
        "materials": [material],
        "material_indices": [0],
        "rt_params": settings,
        "vertices": corners,
        "objects": {"wall": (0, 4)},
        "faces": np.array([[0, 1, 2], [0, 1, 3]]),
    }
    folder.mkdir()
    for name, value in files.items():
        (folder / f"sionna_{name}.pkl").write_bytes(pickle.dumps(value))


def test_import_gives_our_own_paths_when_the_package_converted_sionnas(
    deepmimo_python: RunPython,
    write_scene: Callable[..., Path],
    trace_points: Callable[..., Dataset],
    tmp_path: Path,
) -> None:
    """Sionna's paths through DeepMIMO's converter and our import, and traced by us: the same.

    The panel is turned, not tilted, so that its elements have the polarization of the converted
    isotropic ones.
    """
    site = {"name": "bs", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 25.0}
    meshes = {
        "ground": (rectangle((-300, -300, 0), (600, 0, 0), (0, 600, 0)), "concrete"),
        "wall": (rectangle((-300, 30, 0), (600, 0, 0), (0, 0, 60)), "brick"),
    }
    folder = write_scene("corner", meshes, [site])
    points = np.random.default_rng(3).uniform([5, -50, 1], [60, 25, 10], (25, 3)).round(2)
    ours = trace_points(folder, points, bands=["2.6GHz"], front_end={"panel": {"num_rows": 8}})
    scene = rt.load_scene(str(folder / "scene.xml"), merge_shapes=False)
    scene.frequency = 2.6e9
    scene.tx_array = scene.rx_array = rt.PlanarArray(
        num_rows=1, num_cols=1, pattern="iso", polarization="V"
    )
    scene.add(rt.Transmitter("bs", position=site["position_m"]))
    for i, point in enumerate(points):
        scene.add(rt.Receiver(f"ue{i}", position=point.tolist()))
    paths = rt.PathSolver()(scene, max_depth=2, refraction=False, synthetic_array=True)
    write_sionna_export(tmp_path / "source", paths, 2.6e9)
    deepmimo_python(CONVERTER, tmp_path / "source", cwd=tmp_path)

    options = DeepmimoImport(azimuth_deg=25, bandwidth_hz=5e6, max_path_length_m=3000)
    import_deepmimo(tmp_path / "deepmimo_scenarios" / "converted", tmp_path / "data", options)

    assert verify_dataset(tmp_path / "data") == []
    data = open_dataset(tmp_path / "data")
    assert "phases did not include the carrier" in " ".join(data.manifest.notes)
    found = data.select(scene="converted", band="2.6GHz")
    expected = ours.select(scene="corner", band="2.6GHz")
    np.testing.assert_array_equal(found.los, expected.los)
    theirs, traced = found.path_table(0, 25), expected.path_table(0, 25)
    np.testing.assert_array_equal(theirs.path_offset, traced.path_offset)
    for start, stop in zip(traced.path_offset[:-1], traced.path_offset[1:], strict=True):
        a, b = (np.argsort(t.delay_s[start:stop]) + start for t in (theirs, traced))
        np.testing.assert_allclose(theirs.delay_s[a], traced.delay_s[b], rtol=1e-5)
        np.testing.assert_array_equal(theirs.interaction[a] > 0, traced.interaction[b] > 0)
        for name in ("zenith_bs_rad", "azimuth_bs_rad", "zenith_ue_rad", "azimuth_ue_rad"):
            np.testing.assert_allclose(
                getattr(theirs, name)[a], getattr(traced, name)[b], atol=1e-4
            )
        # Single precision of two tracers; a wrong pattern or sign would be tens of per cent.
        np.testing.assert_allclose(theirs.amplitude[a], traced.amplitude[b], rtol=2e-3)


def test_models_are_compared_on_an_imported_dataset(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_deepmimo(small_dataset, tmp_path / "canyon", scene="street_canyon", band="6GHz")
    import_deepmimo(tmp_path / "canyon", tmp_path / "data")
    suite = {
        "name": "imported",
        "version": 1,
        "preset": "none",
        "content_hash": "any",
        "scenes": ["canyon"],
        "bands": ["6GHz"],
        "seeds": [0],
        "tracks": [
            {"track": "interpolation", "split": {"kind": "random-tracks"}},
            {
                "track": "unseen-nlos",
                "split": {"kind": "nlos-blocks", "buffer_m": 1.0, "num_folds": 3},
                "folds": [0],
            },
        ],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    options = ["--suite", "suite.yaml", "--data", "data", "--any-data", "--models", "wknn"]
    monkeypatch.chdir(tmp_path)

    done = raymark("bench", "run", *options, "--out", "runs", "--jobs", 1)

    assert done.returncode == 0, done.stderr
    assert "2 cells run, 0 kept" in done.stdout
