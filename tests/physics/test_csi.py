"""CSI against Sionna's own `Paths.cfr`, and fields of several bands from one trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raymark.dataset import Dataset, PathTable
from raymark.generator.tracing.backend import rt
from raymark.radio import BAND_PRESETS, Band, Panel
from raymark.radio.synthesis import PathBatch, subcarrier_frequencies, synthesize_csi
from raymark.scenes import get_scene

FLOAT32_TURN = 2**-24
"""Relative rounding of a phase that Sionna keeps in single precision."""
ARRAY_REL = 1e-5
"""Phases across the panel and the band are some turns at most: a few float32 roundings."""

BS_M = (0.0, 0.0, 10.0)
ORIENTATION_RAD = tuple(np.radians([40.0, 7.0, 3.0]).tolist())
UE_M = [(30.0, 3.0, 1.5), (3.0, 55.0, 1.5), (95.0, -3.0, 1.5), (72.0, 0.0, 1.5)]


def phase_tolerance_rad(carrier_hz: float, delay_s: np.ndarray) -> np.ndarray:
    """Sionna multiplies 2 pi f tau in float32 and reduces it: four roundings of the whole phase."""
    return 4 * FLOAT32_TURN * 2 * np.pi * carrier_hz * delay_s + ARRAY_REL


def solve(scene: rt.Scene, carrier_hz: float, size: int, **settings: Any) -> rt.Paths:
    scene.frequency = carrier_hz
    scene.tx_array = rt.PlanarArray(
        num_rows=size, num_cols=size, pattern="tr38901", polarization="V"
    )
    scene.rx_array = rt.PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")
    solver = rt.PathSolver(deterministic=True)
    return solver(scene, refraction=False, synthetic_array=True, seed=1, **settings)


def place_devices(
    scene: rt.Scene, ue_m: Any, *, bs_m: Any = BS_M, orientation_rad: Any = ORIENTATION_RAD
) -> None:
    scene.add(rt.Transmitter("bs", position=bs_m, orientation=list(orientation_rad)))
    for i, position in enumerate(ue_m):
        scene.add(rt.Receiver(f"ue{i}", position=[float(x) for x in position]))


def response(paths: rt.Paths, band: Band) -> np.ndarray:
    """Sionna's response as [link, ant, subcarrier]."""
    frequencies = subcarrier_frequencies(band).tolist()
    h = paths.cfr(frequencies, normalize_delays=False, out_type="numpy")
    return h[:, 0, 0, :, 0, :]


def to_batch(paths: rt.Paths, band: Band) -> PathBatch:
    """Convert the paths of a one-element array; Sionna marks absent paths by `valid`."""
    real, imag = (np.array(part)[:, 0, 0, 0, :] for part in paths.a)
    mask = np.array(paths.valid)[:, 0, :]
    tensor = {
        name: torch.from_numpy(np.where(mask, np.array(value)[:, 0, :], 0).astype("f4"))
        for name, value in [
            ("delay_s", paths.tau),
            ("zenith_bs_rad", paths.theta_t),
            ("azimuth_bs_rad", paths.phi_t),
        ]
    }
    return PathBatch(
        amplitude=torch.from_numpy(np.where(mask, real + 1j * imag, 0).astype("c8")),
        num_interactions=torch.zeros(mask.shape, dtype=torch.int64),
        mask=torch.from_numpy(mask),
        band=band,
        orientation_rad=np.array(ORIENTATION_RAD),
        **tensor,
    )


@pytest.fixture(scope="module")
def canyon(tmp_path_factory: pytest.TempPathFactory) -> rt.Scene:
    scene = get_scene("street_canyon", {"num_blocks_x": 4, "num_blocks_y": 4, "seed": 3})
    loaded = rt.load_scene(str(scene.xml_path(tmp_path_factory.mktemp("canyon"))))
    place_devices(loaded, UE_M)
    return loaded


@pytest.mark.parametrize("name", BAND_PRESETS)
def test_synthesize_csi_equals_sionna_cfr_when_paths_are_the_same(
    canyon: rt.Scene, name: str
) -> None:
    band = BAND_PRESETS[name]
    settings = {"max_depth": 2, "samples_per_src": 10_000}
    batch = to_batch(solve(canyon, band.carrier_hz, 1, **settings), band)

    csi = synthesize_csi(batch, Panel(mirrors_back=True)).numpy()

    expected = response(solve(canyon, band.carrier_hz, 8, **settings), band)
    assert int(batch.mask.sum(dim=1).max()) >= 5
    tolerance = batch.amplitude.abs().numpy() * phase_tolerance_rad(
        band.carrier_hz, batch.delay_s.numpy()
    )
    assert csi.shape == expected.shape == (len(UE_M), 64, 64)
    assert (np.abs(csi - expected) <= tolerance.sum(axis=1)[:, None, None]).all()
    # The tolerance is small against the response: a wrong sign, order or spacing cannot pass.
    assert (tolerance.sum(axis=1) < 0.1 * np.abs(expected).max(axis=(1, 2))).all()


@pytest.mark.parametrize("name", BAND_PRESETS)
def test_dataset_csi_equals_sionna_cfr_when_scene_is_ground_and_wall(
    ground_and_wall: Path, trace_points: Callable[..., Dataset], name: str
) -> None:
    """The whole chain: site, trace, files, reader, synthesis; four paths leave no choice."""
    band = BAND_PRESETS[name]
    ues = [(40.0, 10.0, 1.5), (60.0, 20.0, 3.0), (35.0, -10.0, 1.5)]
    data = trace_points(
        ground_and_wall,
        ues,
        bands=[band.model_dump()],
        front_end={},
        max_path_length_m=380.0,
    )
    selection = data.select(scene="ground_and_wall", band=name)

    csi = selection.fingerprints(0, len(ues), kind="oracle").csi.numpy()

    scene = rt.load_scene(str(ground_and_wall / "scene.xml"))
    site = selection.sites[0]
    place_devices(scene, ues, bs_m=site.position_m, orientation_rad=site.orientation_rad)
    paths = solve(scene, band.carrier_hz, 8, max_depth=2, samples_per_src=10_000)
    expected = response(paths, band)
    batch = selection.path_batch(0, len(ues))
    assert batch.mask.sum(dim=1).tolist() == [4] * len(ues)
    phase_rad = phase_tolerance_rad(band.carrier_hz, batch.delay_s.numpy())
    bound = (batch.amplitude.abs().numpy() * (phase_rad + 1e-3)).sum(axis=1)
    assert (np.abs(csi - expected) <= bound[:, None, None]).all()
    assert (bound < 0.1 * np.abs(expected).max(axis=(1, 2))).all()


GEOMETRY_REL = 1e-6
"""Of paths that count as one, the strongest at the first band stays: it may lie some ulps off."""
AMPLITUDE_REL = 1e-4
"""The field calculator runs on a copy of the same geometry; only those ulps differ."""


@pytest.mark.slow
def test_bands_equal_single_traces_when_traced_together(
    make_dataset: Callable[..., Dataset], small_campaign: dict[str, Any]
) -> None:
    campaign = {
        **small_campaign,
        # One house a block: of the coincident edges of two houses either one may stay.
        "scenes": [{"name": "street_canyon", "params": {"lots_per_side": 1}}],
        "sampling": {"kind": "uniform", "num_ues": 10, "max_range_m": 120.0},
        "tracer": {**small_campaign["tracer"], "max_depth": 2, "max_num_paths": 1000},
    }
    together = make_dataset(campaign)

    for band in small_campaign["bands"]:
        alone = make_dataset({**campaign, "bands": [band]})
        one = in_geometric_order(together.select(scene="street_canyon", band=band))
        other = in_geometric_order(alone.select(scene="street_canyon", band=band))
        np.testing.assert_allclose(one["key"], other["key"], rtol=GEOMETRY_REL)
        assert len(one["key"]) > 50
        np.testing.assert_allclose(one["amplitude"], other["amplitude"], rtol=AMPLITUDE_REL)


def in_geometric_order(selection: Any) -> dict[str, np.ndarray]:
    """Paths by link, delay and angle: their order in the files is by power at the first band."""
    paths: PathTable = selection.path_table(0, len(selection))
    link = np.repeat(np.arange(len(selection)), np.diff(paths.path_offset))
    order = np.lexsort((paths.azimuth_ue_rad, paths.zenith_bs_rad, paths.delay_s, link))
    return {
        "key": np.column_stack([link, paths.delay_s, paths.zenith_bs_rad])[order],
        "amplitude": paths.amplitude[order],
    }
