import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from raymark.benchmark.conditions import Conditions
from raymark.benchmark.measurements import ARRAY_NAMES, Measurements, concatenate
from raymark.benchmark.measuring import Survey, load_survey, measure, measurements_of_csi
from raymark.benchmark.split_settings import RandomTracks
from raymark.benchmark.splits import TEST, make_split
from raymark.config import validate
from raymark.dataset import Dataset
from raymark.dataset.materialization import materialize
from raymark.errors import ConfigError

SEED = 5
YARD: dict[str, Any] = {"scene": "yard", "band": "6GHz"}
FLOAT32_REL = 1e-5
"""Sums of some dozens of paths in float32, done in another order."""


@pytest.fixture(scope="module")
def folder(benchmark_measurements: Path) -> Path:
    """Where the surveys of this module are kept, for all its tests."""
    return benchmark_measurements


def survey_of(seed: int = SEED, **conditions: Any) -> Survey:
    worse = validate(Conditions, conditions, where="test") if conditions else None
    return Survey(scene="yard", band="6GHz", seed=seed, conditions=worse)


def csi_of(survey: Survey, dataset: Dataset, folder: Path) -> np.ndarray:
    path = measure(survey, dataset, folder, with_csi=True)
    found: np.ndarray = np.load(path.with_suffix(".csi.npy"))
    return found


def clean_csi_of(dataset: Dataset) -> np.ndarray:
    selection = dataset.select(**YARD)
    batches = [selection.fingerprints(*r, kind="oracle").csi.numpy() for r in selection.ranges()]
    return np.concatenate(batches)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def load(survey: Survey, dataset: Dataset, folder: Path, *, with_csi: bool = True) -> Measurements:
    split = make_split(dataset, "yard", RandomTracks(), window_size=4)
    measure(survey, dataset, folder, with_csi=True)
    return load_survey(survey, dataset, folder, split, with_csi=with_csi)


def test_measured_csi_is_that_of_the_command_line_when_conditions_are_clean(
    benchmark_dataset: Dataset, folder: Path, tmp_path: Path
) -> None:
    materialize(benchmark_dataset, tmp_path / "prints.h5", seed=SEED, **YARD)
    measured = load(survey_of(), benchmark_dataset, folder)

    with h5py.File(tmp_path / "prints.h5") as file:
        np.testing.assert_array_equal(measured.csi(np.arange(160)), file["csi"][()])
        np.testing.assert_array_equal(measured.distance_m, file["distance_m"][()])
        np.testing.assert_array_equal(measured.gain_db, file["gain_db"][()])
        np.testing.assert_array_equal(measured.has_signal, file["has_signal"][()])
        np.testing.assert_array_equal(measured.aoa_profile_db, file["aoa_profile"][()])
        np.testing.assert_array_equal(measured.site_index, file["ue/site_index"][()])


def test_measurements_are_kept_when_measured_again(
    benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    path = measure(survey_of(), benchmark_dataset, tmp_path, with_csi=False)
    csi_path = path.with_suffix(".csi.npy")
    before = arrays_of(path)
    marked = path.read_bytes() + b"kept"
    path.write_bytes(marked)
    assert not csi_path.exists()

    assert measure(survey_of(), benchmark_dataset, tmp_path, with_csi=False) == path
    assert path.read_bytes() == marked

    measure(survey_of(), benchmark_dataset, tmp_path, with_csi=True)
    assert csi_path.is_file()
    after = arrays_of(path)
    assert after.keys() == before.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert sorted(tmp_path.iterdir()) == sorted([path, csi_path])


def test_measurements_are_equal_bit_by_bit_when_made_in_another_folder(
    benchmark_dataset: Dataset, folder: Path, tmp_path: Path
) -> None:
    survey = survey_of(power_change_db=-10.0, blockage_probability=0.3)
    first = measure(survey, benchmark_dataset, folder, with_csi=True)
    second = measure(survey, benchmark_dataset, tmp_path, with_csi=True)

    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    csi = [path.with_suffix(".csi.npy").read_bytes() for path in (first, second)]
    assert csi[0] == csi[1]


def test_measurements_are_kept_apart_when_anything_differs(
    benchmark_dataset: Dataset, two_site_dataset: Dataset, tmp_path: Path
) -> None:
    survey = survey_of()
    surveys = [
        survey,
        dataclasses.replace(survey, scene="street_canyon"),
        dataclasses.replace(survey, band="28GHz"),
        dataclasses.replace(survey, seed=SEED + 1),
        survey_of(power_change_db=-1.0),
        survey_of(blockage_probability=0.1),
        survey_of(impairments={"random_phase": True}),
    ]
    files = {other.file(benchmark_dataset, tmp_path) for other in surveys}

    assert len(files | {survey.file(two_site_dataset, tmp_path)}) == len(surveys) + 1


def test_noise_differs_when_the_seed_is_another(benchmark_dataset: Dataset, folder: Path) -> None:
    clean = clean_csi_of(benchmark_dataset)
    noise = [csi_of(survey_of(seed), benchmark_dataset, folder) - clean for seed in (SEED, 6)]

    correlation = np.vdot(noise[0], noise[1]) / np.linalg.norm(noise[0]) / np.linalg.norm(noise[1])
    # Independent circular samples: the deviation of the correlation is 1 / sqrt(samples).
    assert abs(correlation) < 5 / np.sqrt(clean.size)


def test_measurements_are_the_clean_ones_when_conditions_change_nothing(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    same = survey_of(power_change_db=0.0)
    assert same.conditions == Conditions()

    np.testing.assert_array_equal(
        csi_of(same, benchmark_dataset, folder), csi_of(survey_of(), benchmark_dataset, folder)
    )


def test_noise_is_stronger_by_the_lost_power_when_the_ue_sends_less(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    clean = clean_csi_of(benchmark_dataset)
    noise = csi_of(survey_of(), benchmark_dataset, folder) - clean
    weak = csi_of(survey_of(power_change_db=-30.0), benchmark_dataset, folder) - clean

    # The same draw of noise, 30 dB stronger; float32 of a signal far above the noise.
    error = np.abs(weak - 10**1.5 * noise)
    assert error.max() < FLOAT32_REL * np.abs(clean).max()
    assert (np.abs(noise) > 0).all()


def test_more_links_show_paths_when_the_receiver_gains(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    gains_db = (-30.0, 0.0, 30.0)
    links = [load(survey_of(power_change_db=x), benchmark_dataset, folder) for x in gains_db]

    weak, plain, strong = (measured.path_mask.sum(axis=1) for measured in links)

    assert (weak > 0).sum() < (plain > 0).sum() <= (strong > 0).sum()
    assert strong.sum() > plain.sum()


def test_csi_has_no_noise_but_that_far_below_when_there_is_none(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    clean = clean_csi_of(benchmark_dataset)
    noise = csi_of(survey_of(), benchmark_dataset, folder) - clean
    quiet = csi_of(survey_of(noise="none"), benchmark_dataset, folder) - clean

    # The same draw of noise, 60 dB weaker; float32 of a signal far above it.
    assert np.abs(quiet - noise / 1e3).max() < FLOAT32_REL * np.abs(clean).max()


def test_measurements_are_of_the_middle_of_the_band_when_the_receiver_is_narrower(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    clean = clean_csi_of(benchmark_dataset)
    survey = survey_of(bandwidth_share=0.5, noise="none")

    narrow = load(survey, benchmark_dataset, folder)
    csi = csi_of(survey, benchmark_dataset, folder)

    (band,) = narrow.bands
    num_tones = clean.shape[-1]
    assert (band.num_subcarriers, band.name) == (num_tones // 2, "6GHz")
    middle = clean[..., num_tones // 4 : 3 * num_tones // 4]
    is_close = np.abs(csi - middle) < 1e-2 * np.abs(clean).max()
    assert csi.shape == middle.shape
    assert is_close.all()


def test_paths_are_the_strongest_ones_when_fewer_or_more_are_handed_on(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    plain, few, many = (
        load(survey_of(**own), benchmark_dataset, folder)
        for own in ({}, {"num_paths": 2}, {"num_paths": 12})
    )

    assert [x.path_mask.shape[1] for x in (plain, few, many)] == [8, 2, 12]
    np.testing.assert_array_equal(few.path_range_m, plain.path_range_m[:, :2])
    np.testing.assert_array_equal(many.path_range_m[:, :8], plain.path_range_m)


def test_gain_is_less_by_the_loss_when_every_path_is_blocked(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    survey = survey_of(blockage_probability=1.0, blockage_loss_db=20.0)
    clean = clean_csi_of(benchmark_dataset)
    change = csi_of(survey, benchmark_dataset, folder) - csi_of(
        survey_of(), benchmark_dataset, folder
    )

    error = np.abs(change - (0.1 - 1) * clean).max(axis=(1, 2))
    assert (error <= FLOAT32_REL * np.abs(clean).max()).all()


def test_stated_share_of_paths_loses_the_stated_power_when_blocked(
    trace_points: Any, far_ground: Path, folder: Path
) -> None:
    """Every link has its direct path only, so that the blocked ones can be counted."""
    rng = np.random.default_rng(0)
    azimuth, range_m = rng.uniform(-1, 1, 300), rng.uniform(50, 200, 300)
    points = np.column_stack([range_m * np.cos(azimuth), range_m * np.sin(azimuth), np.zeros(300)])
    dataset = trace_points(far_ground, points, bands=("6GHz",), max_depth=0)
    worse = Conditions(blockage_probability=0.3, blockage_loss_db=6.0)
    clean, blocked = (
        csi_of(
            Survey(scene="far_ground", band="6GHz", seed=1, conditions=conditions), dataset, folder
        )
        for conditions in (None, worse)
    )
    lost = dataset.select(scene="far_ground", band="6GHz").fingerprints(0, 256, kind="oracle").csi
    size = np.abs(lost.numpy()).mean(axis=(1, 2))
    share = np.abs(blocked - clean)[:256].mean(axis=(1, 2)) / size

    is_blocked = share > 0.1
    np.testing.assert_allclose(share[is_blocked], 1 - 10 ** (-6 / 20), rtol=1e-3)
    assert (share[~is_blocked] < FLOAT32_REL).all()
    # Four deviations of a binomial share.
    assert abs(is_blocked.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 256)


@pytest.mark.slow
def test_blocked_paths_are_other_ones_when_the_seed_is_another(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    worse = {"blockage_probability": 0.5, "blockage_loss_db": 40.0}
    clean = clean_csi_of(benchmark_dataset)
    covered = np.abs(clean).max(axis=(1, 2)) > 0
    kept = []
    for seed in (SEED, 6):
        csi = csi_of(survey_of(seed, **worse), benchmark_dataset, folder)
        plain = csi_of(survey_of(seed), benchmark_dataset, folder)
        kept.append(np.linalg.norm(csi - plain, axis=(1, 2))[covered])

    changed = np.abs(kept[0] - kept[1]) > 1e-3 * np.maximum(*kept)
    assert changed.mean() > 0.3


def test_phase_and_clock_are_wrong_for_each_link_when_impaired(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    impaired = survey_of(impairments={"random_phase": True, "clock_offset_std_s": 1e-8})
    csi = csi_of(impaired, benchmark_dataset, folder)
    clean = clean_csi_of(benchmark_dataset)
    strong = np.abs(clean).mean(axis=(1, 2)) > 1e-6  # 20 dB above the noise and more
    inner = np.einsum("lak,lak->lk", csi, clean.conj())[strong]
    inner /= np.abs(inner)

    assert strong.sum() > 50
    first = np.angle(inner[:, 0])
    assert np.abs(np.exp(1j * first).mean()) < 4 / np.sqrt(len(first))  # uniform phases
    slope = np.angle((inner[:, 1:] * inner[:, :-1].conj()).mean(axis=1))
    spacing_hz = benchmark_dataset.band("6GHz").subcarrier_spacing_hz
    # Deviation of a deviation from n samples: 1 / sqrt(2 n), four of them.
    expected = 2 * np.pi * spacing_hz * 1e-8
    assert slope.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * len(slope)))


def test_measurements_hold_estimates_only_when_stored(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    """The list is written out, so that another array is a decision."""
    path = measure(survey_of(), benchmark_dataset, folder, with_csi=True)

    assert set(arrays_of(path)) == {
        "path_range_m",
        "path_azimuth_rad",
        "path_zenith_rad",
        "path_power_db",
        "path_mask",
        "aoa_profile_db",
        "distance_m",
        "gain_db",
        "has_signal",
        "delay_spread_s",
        "azimuth_spread_rad",
    }
    fields = {field.name for field in dataclasses.fields(Measurements)}
    context = {"sites", "bands", "site_index", "band_index", "window", "window_step", "csi_files"}
    # None but under the paper's protocol, on tracks with odometry and on those of several sites,
    # see their own tests.
    sometimes = {"ue_azimuth_rad", "odometry_m", "ue"}
    assert fields == set(arrays_of(path)) | context | sometimes


def test_measurements_are_finite_when_links_are_in_outage(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    measured = load(survey_of(), benchmark_dataset, folder)
    outage = benchmark_dataset.select(**YARD).los < 0

    assert outage.sum() == 10
    for name, array in arrays_of(survey_of().file(benchmark_dataset, folder)).items():
        assert np.isfinite(array).all(), name
    assert not measured.path_mask[outage].any()
    assert (measured.delay_spread_s[outage] == 0).all()


def test_spreads_are_those_of_the_estimated_paths_when_summed_link_by_link(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    measured = load(survey_of(), benchmark_dataset, folder)
    for i in np.flatnonzero(measured.path_mask.sum(axis=1) > 1)[:20]:
        used = measured.path_mask[i]
        power = 10 ** (measured.path_power_db[i, used].astype("f8") / 10)
        delay_s = measured.path_range_m[i, used].astype("f8") / 299_792_458.0
        mean_s = np.average(delay_s, weights=power)
        variance = np.average((delay_s - mean_s) ** 2, weights=power)
        mean = np.average(np.exp(1j * measured.path_azimuth_rad[i, used]), weights=power)
        # Absolute floors: rounding of float32 ranges and angles.
        assert measured.delay_spread_s[i] == pytest.approx(variance**0.5, rel=1e-4, abs=1e-13)
        assert measured.azimuth_spread_rad[i] == pytest.approx(
            np.sqrt(-2 * np.log(abs(mean))), rel=1e-3, abs=1e-4
        )


def test_height_is_that_above_the_links_that_are_not_tested_when_loaded(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    split = make_split(benchmark_dataset, "yard", RandomTracks(), window_size=4)
    measured = load(survey_of(), benchmark_dataset, folder)
    selection = benchmark_dataset.select(**YARD)
    for i, (context, site) in enumerate(zip(measured.sites, selection.sites, strict=True)):
        known = (split.table["part"].to_numpy() != TEST) & (selection.site_index == i)
        height_m = site.position_m[2] - np.median(selection.position_m[known, 2])
        assert context.name == f"yard/{site.site}"
        assert context.height_m == pytest.approx(height_m)
        assert context.panel == benchmark_dataset.manifest.campaign.front_end.panel


def test_new_csi_is_measured_bit_by_bit_as_a_survey_when_it_is_that_of_a_survey(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    surveyed, selection = (
        load(survey_of(), benchmark_dataset, folder),
        benchmark_dataset.select(**YARD),
    )
    split = make_split(benchmark_dataset, "yard", RandomTracks(), window_size=4)
    for i, site in enumerate(selection.sites):
        rows = np.flatnonzero(selection.site_index == i)
        csi, window = surveyed.csi(rows), split.table["window"].to_numpy()[rows]

        found = measurements_of_csi(
            torch.from_numpy(csi),
            site=surveyed.sites[i],
            band=selection.band,
            front_end=benchmark_dataset.manifest.campaign.front_end,
            orientation_rad=np.array(site.orientation_rad),
            window=window,
        )

        expected = surveyed.take(rows)
        for name in set(ARRAY_NAMES) - {"site_index"}:
            np.testing.assert_array_equal(
                getattr(found, name), getattr(expected, name), err_msg=name
            )
            assert getattr(found, name).dtype == getattr(expected, name).dtype, name
        np.testing.assert_array_equal(found.csi(np.arange(len(rows))), csi)
        backwards = found.take(np.arange(len(rows))[::-1])
        np.testing.assert_array_equal(backwards.csi(np.array([0, 5])), csi[::-1][[0, 5]])


def test_new_links_stand_alone_when_no_window_is_given(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    surveyed = load(survey_of(), benchmark_dataset, folder)
    settings: dict[str, Any] = {
        "band": surveyed.bands[0],
        "front_end": benchmark_dataset.manifest.campaign.front_end,
        "orientation_rad": np.zeros(3),
    }
    csi = surveyed.csi(np.arange(6))

    one, two = (
        measurements_of_csi(piece, site=site, **settings)
        for piece, site in zip((csi[:4], csi[4:]), surveyed.sites, strict=True)
    )
    joined = concatenate([one, two])

    assert joined.window.tolist() == [0, 1, 2, 3, 4, 5]
    assert joined.window_step.tolist() == [0] * 6
    np.testing.assert_array_equal(joined.csi(np.array([5, 0, 3])), csi[[5, 0, 3]])


def test_new_csi_is_refused_when_it_does_not_fit_the_front_end(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    surveyed = load(survey_of(), benchmark_dataset, folder)
    csi = surveyed.csi(np.arange(3))

    settings: dict[str, Any] = {
        "site": surveyed.sites[0],
        "band": surveyed.bands[0],
        "front_end": benchmark_dataset.manifest.campaign.front_end,
        "orientation_rad": np.zeros(3),
    }

    with pytest.raises(ConfigError, match=r"must have 16 antennas and 64 tones .*\(3, 16, 9\)"):
        measurements_of_csi(csi[:, :, :9], **settings)
    with pytest.raises(ConfigError, match="CSI of site yard/west holds no links"):
        measurements_of_csi(csi[:0], **settings)
    with pytest.raises(
        ConfigError, match=r"west: link 0 gains \+\d+ dB; CSI must be the channel's"
    ):
        measurements_of_csi(csi * 1e8, **settings)
    csi[1, 2, 3] = complex(0, np.nan)
    with pytest.raises(ConfigError, match="CSI of site yard/west: 'csi' of link 1 is not finite"):
        measurements_of_csi(csi, **settings)


def test_csi_is_out_of_reach_when_it_was_not_asked_for(
    benchmark_dataset: Dataset, folder: Path
) -> None:
    assert load(survey_of(), benchmark_dataset, folder, with_csi=False).csi_files is None
