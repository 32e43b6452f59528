"""Links as a channel of Sionna PHY: its own functions must give the CSI that the paths define."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sionna  # which loads `phy` when it is used: seconds, in each worker that collects
import torch

from raymark.dataset import Dataset, Selection
from raymark.dataset.schema import OUTAGE
from raymark.errors import ConfigError, DatasetError
from raymark.interop.sionna_phy import SionnaChannel, sionna_cir
from raymark.radio import Band
from raymark.radio.frames import rotation_matrix, unit_vector
from raymark.radio.synthesis import element_positions, subcarrier_frequencies, synthesize_csi

FLOAT32_TURN = 2**-24
ARRAY_REL = 1e-5
"""Phases across the panel, and the carrier's after its whole turns: a few float32 roundings."""

LIT_UES_M = [(40.0, 10.0, 1.5), (60.0, 20.0, 3.0), (35.0, -10.0, 1.5), (25.0, 5.0, 1.5)]


def tolerance(selection: Selection, start: int, stop: int) -> np.ndarray:
    """Tones are up to B tau / 2 turns away, in float32: some roundings of the whole phase."""
    table = selection.path_table(start, stop)
    phase_rad = np.pi * selection.band.bandwidth_hz * table.delay_s
    each = np.abs(table.amplitude) * (8 * FLOAT32_TURN * phase_rad + ARRAY_REL)
    link = np.repeat(np.arange(stop - start), np.diff(table.path_offset))
    return np.bincount(link, each, stop - start)[:, None, None]


def naive_response(selection: Selection, start: int, stop: int) -> np.ndarray:
    """The sum over paths of docs/conventions.md in float64, link by link."""
    table, band = selection.path_table(start, stop), selection.band
    site = selection.sites[int(selection.site_index[start])]
    antenna = element_positions(selection.front_end.panel)
    rotation = rotation_matrix(np.array(site.orientation_rad))
    frequency_hz = band.carrier_hz + subcarrier_frequencies(band)
    links = []
    for low, high in zip(table.path_offset[:-1], table.path_offset[1:], strict=True):
        rows = slice(low, high)
        direction = unit_vector(
            table.zenith_bs_rad[rows].astype("f8"), table.azimuth_bs_rad[rows].astype("f8")
        )
        steering = np.exp(2j * np.pi * antenna @ (direction @ rotation).T)
        delay_s = table.delay_s[rows].astype("f8")[:, None]
        tones = table.amplitude[rows, None] * np.exp(-2j * np.pi * frequency_hz * delay_s)
        links.append(steering @ tones)
    return np.array(links)


def own_response(selection: Selection, ues: torch.Tensor) -> np.ndarray:
    batch = selection.path_batch(0, len(selection)).take(ues)
    return synthesize_csi(batch, selection.front_end.panel).numpy()


def grid_of(band: Band, num_tx: int = 1) -> "sionna.phy.ofdm.ResourceGrid":
    return sionna.phy.ofdm.ResourceGrid(
        num_ofdm_symbols=2,
        fft_size=band.num_subcarriers,
        subcarrier_spacing=band.subcarrier_spacing_hz,
        num_tx=num_tx,
    )


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def canyon(small_dataset: Dataset) -> Selection:
    return small_dataset.select(scene="street_canyon", band="6GHz")


@pytest.fixture(scope="module")
def shared_dataset(
    ground_and_wall: Path, tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable
) -> Dataset:
    """Two sites with panels of 2 by 3 that see the same UEs, the last behind the wall; 63 tones."""
    points = tmp_path_factory.mktemp("points") / "ue.npy"
    np.save(points, np.array([*LIT_UES_M, (40.0, 45.0, 1.5)]))
    east = {"name": "east", "position_m": [90.0, -20.0, 15.0], "azimuth_deg": 160.0}
    return make_dataset(
        {
            "name": "shared",
            "scenes": [{"name": str(ground_and_wall), "sites": ["bs0", east]}],
            "bands": [
                {"name": "odd", "carrier_hz": 6e9, "bandwidth_hz": 2e7, "num_subcarriers": 63}
            ],
            "front_end": {"panel": {"num_rows": 2, "num_cols": 3}},
            "sampling": {"kind": "positions", "files": {"ground_and_wall": str(points)}},
            "tracer": {"max_depth": 2, "discovery": "quick"},
        }
    )


@pytest.mark.parametrize("name", ["2.6GHz", "6GHz", "28GHz"])
def test_cir_gives_the_defined_response_when_sionna_transforms_it(
    small_dataset: Dataset, name: str
) -> None:
    selection = small_dataset.select(scene="street_canyon", band=name)
    start, stop = 8, 23  # over two borders of shards

    a, tau = sionna_cir(selection, start, stop)

    most = int(np.diff(selection.path_table(start, stop).path_offset).max())
    assert a.shape == (15, 1, 64, 1, 1, most, 1)
    assert tau.shape == (15, 1, 1, most)
    frequencies = torch.as_tensor(subcarrier_frequencies(selection.band))
    response = sionna.phy.channel.cir_to_ofdm_channel(frequencies, a, tau, normalize=False)[
        :, 0, :, 0, 0, 0
    ].numpy()
    expected = naive_response(selection, start, stop)
    assert (np.abs(response - expected) <= tolerance(selection, start, stop)).all()
    # Small against the response: a wrong sign, order or carrier cannot pass.
    lit = selection.los[start:stop] != OUTAGE
    assert lit.sum() > 10
    largest = np.abs(expected[lit]).max(axis=(1, 2))
    assert (tolerance(selection, start, stop)[lit, 0, 0] < 1e-3 * largest).all()


def test_cir_gives_synthesized_csi_when_sionna_transforms_it(canyon: Selection) -> None:
    a, tau = sionna_cir(canyon, 0, 50)

    response = sionna.phy.channel.cir_to_ofdm_channel(
        torch.as_tensor(subcarrier_frequencies(canyon.band)), a, tau
    )
    expected = own_response(canyon, torch.arange(50))
    assert (np.abs(response[:, 0, :, 0, 0, 0].numpy() - expected) <= tolerance(canyon, 0, 50)).all()


@pytest.mark.parametrize("count", [2, 3, 63, 64, 1201, 4096])
def test_sionnas_tones_are_ours_when_their_number_is_even_or_odd(count: int) -> None:
    band = Band(name="x", carrier_hz=6e9, bandwidth_hz=count * 15e3, num_subcarriers=count)

    theirs = sionna.phy.channel.subcarrier_frequencies(
        count, band.subcarrier_spacing_hz, precision="double", device="cpu"
    )

    np.testing.assert_allclose(subcarrier_frequencies(band), theirs.numpy(), rtol=1e-15)


def test_cir_is_padded_or_cut_when_a_number_of_paths_is_wanted(canyon: Selection) -> None:
    a, tau = sionna_cir(canyon, 0, 50)
    longer = sionna_cir(canyon, 0, 50, num_paths=40)
    shorter = sionna_cir(canyon, 0, 50, num_paths=2)

    most = tau.shape[-1]
    assert 2 < most < 40
    for whole, many, few, axis in zip((a, tau), longer, shorter, (5, 3), strict=True):
        assert (many.shape[axis], few.shape[axis]) == (40, 2)
        assert torch.equal(many.narrow(axis, 0, most), whole)
        assert not many.narrow(axis, most, 40 - most).any()
        assert torch.equal(few, whole.narrow(axis, 0, 2))


def test_cir_is_zero_when_no_path_arrives(shared_dataset: Dataset) -> None:
    selection = shared_dataset.select(scene="ground_and_wall", band="odd")
    assert selection.los[4] == OUTAGE

    a, tau = sionna_cir(selection, 4, 5)

    assert a.shape == (1, 2, 6, 1, 1, 1, 1)
    assert not a.any()
    assert not tau.any()


def test_generated_channel_is_synthesized_csi_when_one_ue_is_drawn(canyon: Selection) -> None:
    channel = SionnaChannel(canyon, generator=rng(), ues=[7])

    response = sionna.phy.channel.GenerateOFDMChannel(channel, grid_of(canyon.band))(batch_size=3)

    expected = own_response(canyon, torch.tensor([7]))
    assert response.shape == (3, 1, 64, 1, 1, 2, 64)
    limit = tolerance(canyon, 7, 8)
    assert np.abs(expected).max() > 100 * limit.max()
    for one in response[:, 0, :, 0, 0].movedim(2, 1).flatten(0, 1).numpy():  # examples and symbols
        assert (np.abs(one - expected[0]) <= limit[0]).all()


def test_received_signal_is_channel_times_sent_when_there_is_no_noise(canyon: Selection) -> None:
    channel = SionnaChannel(canyon, generator=rng(), ues=[3, 4, 5])
    sent = torch.polar(torch.ones(4, 1, 1, 2, 64), torch.rand(4, 1, 1, 2, 64, generator=rng()))

    received, response = sionna.phy.channel.OFDMChannel(
        channel, grid_of(canyon.band), return_channel=True
    )(sent)

    expected = response[:, 0, :, 0, 0] * sent[:, 0]
    torch.testing.assert_close(received[:, 0], expected, rtol=1e-5, atol=1e-12)


def test_noise_of_sionna_has_our_variance_when_no_is_noise_variance(canyon: Selection) -> None:
    channel = SionnaChannel(canyon, generator=rng(), ues=[3])
    variance = canyon.front_end.noise_variance(canyon.band)
    sent = torch.ones(16, 1, 1, 2, 64, dtype=torch.complex64)

    ofdm = sionna.phy.channel.OFDMChannel(channel, grid_of(canyon.band), return_channel=True)
    received, response = ofdm(sent, no=torch.tensor(variance))

    noise = received[:, 0] - response[:, 0, :, 0, 0]
    # 131,072 exponential draws: the mean is good to 0.3 %; half of it would be 50 % off.
    assert float(noise.abs().square().mean()) == pytest.approx(variance, rel=0.02)


def test_draws_are_the_same_when_the_seed_is_the_same(canyon: Selection) -> None:
    one, same, other = (SionnaChannel(canyon, generator=rng(seed))(20)[1] for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(torch.unique(one[:, 0, 0, 0])) > 5


def test_cir_dataset_gives_every_ue_once_a_pass_when_it_reads_items(canyon: Selection) -> None:
    channel = SionnaChannel(canyon, generator=rng(), num_time_steps=2)
    model = sionna.phy.channel.CIRDataset(channel.items, batch_size=10, **channel.sizes)
    generate = sionna.phy.channel.GenerateOFDMChannel(model, grid_of(canyon.band))

    response = torch.cat([generate()[:, 0, :, 0, 0] for _ in range(5)])

    assert response.shape == (50, 64, 2, 64)
    assert torch.equal(response[:, :, 0], response[:, :, 1])
    ours = own_response(canyon, torch.arange(50))
    distance = np.abs(response[:, None, :, 0].numpy() - ours[None]).max(axis=(2, 3))
    lit = canyon.los != OUTAGE
    assert set(distance[:, lit].argmin(axis=0)) <= set(np.flatnonzero(distance.min(axis=1) < 1e-9))
    assert len(set(distance[:, lit].argmin(axis=0))) == lit.sum()


def test_receivers_are_the_sites_when_they_share_ues(shared_dataset: Dataset) -> None:
    selection = shared_dataset.select(scene="ground_and_wall", band="odd")
    frequencies = torch.as_tensor(subcarrier_frequencies(selection.band))

    a, tau = sionna_cir(selection, 1, 4)

    assert a.shape[:5] == (3, 2, 6, 1, 1)
    response = sionna.phy.channel.cir_to_ofdm_channel(frequencies, a, tau)[:, :, :, 0, 0, 0].numpy()
    for i, site in enumerate(("bs0", "east")):
        alone = shared_dataset.select(scene="ground_and_wall", band="odd", site=site)
        expected = naive_response(alone, 1, 4)
        assert (np.abs(response[:, i] - expected) <= tolerance(alone, 1, 4)).all()
        assert np.abs(expected).max() > 1000 * tolerance(alone, 1, 4).max()


def test_transmitters_are_different_ues_when_several_send_together(shared_dataset: Dataset) -> None:
    selection = shared_dataset.select(scene="ground_and_wall", band="odd")
    channel = SionnaChannel(selection, generator=rng(), ues=range(4), num_tx=2)

    items = list(channel.items())
    drawn = channel(batch_size=100)[1]

    assert channel.sizes["num_tx"] == 2
    assert (len(items), items[0][0].shape[:4]) == (2, (2, 6, 2, 1))
    whole_a, whole_tau = sionna_cir(selection, 0, 4)
    for group, (a, tau) in enumerate(items):
        for k in range(2):
            torch.testing.assert_close(a[:, :, k], whole_a[2 * group + k, :, :, 0])
            torch.testing.assert_close(tau[:, k], whole_tau[2 * group + k, :, 0])
    assert (drawn[:, 0, 0, 0] != drawn[:, 0, 1, 0]).all()  # the four UEs are at four distances
    assert len(torch.unique(drawn[:, 0, :, 0])) == 4


def test_signals_add_up_when_two_ues_send(shared_dataset: Dataset) -> None:
    selection = shared_dataset.select(scene="ground_and_wall", band="odd")
    channel = SionnaChannel(selection, generator=rng(), ues=range(4), num_tx=2)
    sent = torch.polar(torch.ones(3, 2, 1, 2, 63), torch.rand(3, 2, 1, 2, 63, generator=rng()))

    ofdm = sionna.phy.channel.OFDMChannel(
        channel, grid_of(selection.band, num_tx=2), return_channel=True
    )
    received, response = ofdm(sent)

    expected = sum(response[:, :, :, k, 0] * sent[:, None, None, k, 0] for k in range(2))
    torch.testing.assert_close(received, expected, rtol=1e-4, atol=1e-10)


def test_cir_is_refused_when_sites_have_ues_of_their_own(two_site_dataset: Dataset) -> None:
    selection = two_site_dataset.select(scene="two_sites", band="6GHz")

    with pytest.raises(DatasetError, match=r"west, east have UEs of their own.*select one site"):
        sionna_cir(selection, 0, 2)
    with pytest.raises(DatasetError, match="select one site"):
        SionnaChannel(selection, generator=rng())
    west = two_site_dataset.select(scene="two_sites", band="6GHz", site="west")
    assert sionna_cir(west, 0, 2)[0].shape[1] == 1


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 51)])
def test_cir_is_refused_when_the_range_is_outside(canyon: Selection, start: int, stop: int) -> None:
    with pytest.raises(IndexError, match=rf"UEs {start}:{stop} are not within 0:50"):
        sionna_cir(canyon, start, stop)


def test_channel_is_refused_when_its_numbers_make_no_sense(canyon: Selection) -> None:
    with pytest.raises(ConfigError, match="num_paths must be positive, got 0"):
        sionna_cir(canyon, 0, 2, num_paths=0)
    with pytest.raises(ConfigError, match=r"num_tx must be from 1 to .* \(3\), got 4"):
        SionnaChannel(canyon, generator=rng(), ues=[1, 2, 3], num_tx=4)
    with pytest.raises(ConfigError, match="there is no UE 50; the selection has 50"):
        SionnaChannel(canyon, generator=rng(), ues=[1, 50])


@pytest.mark.slow
def test_module_loads_no_sionna_when_it_is_imported() -> None:
    code = (
        "import sys, raymark.interop.sionna_phy; "
        "print({'sionna', 'mitsuba', 'drjit'} & set(sys.modules))"
    )

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert child.stdout.strip() == "set()"
