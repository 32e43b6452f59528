"""Environments of WAIR-D, written here by hand from closed forms, as datasets."""

import io
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from raymark.benchmark.splits import TEST, TRAIN, VALIDATION, make_split
from raymark.benchmark.task import Suite
from raymark.config import validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.schema import LOS, NLOS, OUTAGE, UNKNOWN
from raymark.dataset.verification import verify_dataset
from raymark.errors import DatasetError, RaymarkError, SchemaError
from raymark.interop import WairdImport, export_deepmimo, import_waird
from raymark.interop.plain_npy import array_of, read_dictionary, read_numbers
from tests.command_line import raymark

CARRIERS = {"2_6": 2.6e9, "60_0": 60e9}
M_PER_NS = 0.3
BOUNCE = -0.6
"""Reflection coefficient of the ground."""
SIZE_M = np.array([120.0, 170.0])
BS_M = np.array([[30.0, 70.0, 6.0]])
FIVE_BS_M = np.array([[10.0 + 20 * i, 60.0, 6.0] for i in range(5)])
NUM_UES = 40
Links = dict[str, dict[str, Any]]


def ues() -> np.ndarray:
    rng = np.random.default_rng(0)
    xy_m = rng.uniform([5.0, 5.0], SIZE_M - 5, (NUM_UES, 2))
    return np.column_stack([xy_m, np.full(NUM_UES, 1.5)])


def angles(direction: np.ndarray) -> np.ndarray:
    zenith = np.arccos(direction[2] / np.linalg.norm(direction))
    return np.array([zenith, np.arctan2(direction[1], direction[0])])


def two_rays(bs: np.ndarray, ue: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Ground reflection, then line of sight, as WAIR-D has them: not in order of their delays."""
    image = ue * [1, 1, -1]
    length_m = np.array([np.linalg.norm(image - bs), np.linalg.norm(ue - bs)])
    up = (bs * [1, 1, -1]) - ue
    link = {
        "taud": length_m / M_PER_NS,
        "dod": np.array([angles(image - bs), angles(ue - bs)]),
        "doa": np.array([angles(up), angles(bs - ue)]) - [0, 2 * np.pi],  # azimuths not wrapped
    }
    gain = np.array([BOUNCE, 1.0])
    return link, {
        key: gain * 299_792_458.0 / hz / (4 * np.pi * length_m) + 0j for key, hz in CARRIERS.items()
    }


def environment(bs_m: np.ndarray, *, is_dense: bool) -> tuple[np.ndarray, Links, dict[str, Links]]:
    """Return what the files hold; the last UE has no path, the one before no line of sight."""
    ue_m = ues()
    paths: Links = {}
    responses: dict[str, Any] = {key: {} for key in CARRIERS}
    for b, bs in enumerate(bs_m):
        for u, ue in enumerate(ue_m):
            name = f"bs{b}_ue{u:05d}" if is_dense else f"bs{b}_ue{u}"
            kept = slice(0, 0) if u == NUM_UES - 1 else slice(0, 2 - (u == NUM_UES - 2))
            link, of_band = two_rays(bs, ue)
            paths[name] = {key: values[kept] for key, values in link.items()}
            for key, values in of_band.items():
                responses[key][name] = values[kept]
    if is_dense:
        rows = np.concatenate([bs_m[:, :2], ue_m[:, :2]])
    else:
        rows = np.array([[*bs[:2], *ue[:2]] for bs in bs_m for ue in ue_m])
    return np.concatenate([SIZE_M, rows.ravel()]) * 2, paths, responses


def save(path: Path, value: object) -> None:
    np.save(path, np.array(value, dtype=object), allow_pickle=True)


def write_environment(
    folder: Path,
    *,
    bs_m: np.ndarray = BS_M,
    is_dense: bool = True,
    change: Callable[[np.ndarray, Links, dict[str, Links]], None] = lambda *_: None,
) -> Path:
    """Write `folder/00743` as WAIR-D has it; return `folder`."""
    inside = folder / "00743"
    inside.mkdir(parents=True)
    info, paths, responses = environment(bs_m, is_dense=is_dense)
    change(info, paths, responses)
    np.save(inside / "Info.npy", info)
    save(inside / "Path.npy", paths)
    for key, links in responses.items():
        save(inside / f"H_{key}_G.npy", links)
    return folder


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    return write_environment(tmp_path / "scenario_2")


def read_in(scenario: Path, **options: Any) -> Dataset:
    """Import with options as plain data, check the dataset, and open it."""
    out = scenario.parent / f"data-{len(list(scenario.parent.iterdir()))}"
    import_waird(scenario, "00743", out, validate(WairdImport, options, where="test"))
    assert verify_dataset(out) == []
    return open_dataset(out)


def refusal(scenario: Path, **options: Any) -> str:
    with pytest.raises(RaymarkError, match=r"\w") as caught:
        import_waird(scenario, "00743", scenario.parent / "new", WairdImport(**options))
    assert not (scenario.parent / "new").exists()
    return str(caught.value)


def test_links_have_lengths_labels_and_responses_of_the_files_when_imported(
    scenario: Path,
) -> None:
    dataset = read_in(scenario)
    ue_m = ues()
    for band, carrier_hz in (("2.6GHz", 2.6e9), ("60GHz", 60e9)):
        links = dataset.select(scene="waird-00743", band=band)
        np.testing.assert_allclose(links.position_m, ue_m, atol=1e-5)
        assert links.band.carrier_hz == carrier_hz
        table = links.path_table(0, len(links))
        direct_m = np.linalg.norm(ue_m - BS_M[0], axis=1)
        direct = table.interaction[:, 0] == 0
        np.testing.assert_allclose(table.delay_s[direct] * 299_792_458.0, direct_m[:-2], rtol=1e-6)
        free = 299_792_458.0 / carrier_hz / (4 * np.pi * direct_m[:-2])
        np.testing.assert_allclose(table.amplitude[direct], free, rtol=1e-5)
        assert set(table.interaction[~direct, 0]) == {UNKNOWN}
        offset_m = (ue_m - BS_M[0])[:-2]
        azimuth = np.arctan2(offset_m[:, 1], offset_m[:, 0])
        np.testing.assert_allclose(table.azimuth_bs_rad[direct], azimuth, atol=1e-6)
        back = np.abs(table.azimuth_ue_rad[direct] - azimuth)
        np.testing.assert_allclose(back, np.pi, atol=1e-6)
    assert links.los.tolist() == [LOS] * (NUM_UES - 2) + [NLOS, OUTAGE]


def test_csi_is_that_of_wairds_own_formula_when_made_for_64_isotropic_elements(
    scenario: Path,
) -> None:
    links = read_in(scenario).select(scene="waird-00743", band="60GHz")
    csi = links.fingerprints(0, len(links), kind="oracle").csi.numpy()

    assert csi.shape == (NUM_UES, 64, 64)
    tones_hz = 60e9 + (np.arange(64) - 32) * 50e6 / 64
    spots = (np.arange(64) - 31.5) / 2  # wavelengths along y
    for ue in (0, 7):
        link, of_band = two_rays(BS_M[0], ues()[ue])
        expected = np.zeros((64, 64), dtype="c16")
        for delay_ns, (zenith, azimuth), gain in zip(
            link["taud"], link["dod"], of_band["60_0"], strict=True
        ):
            delay_s = delay_ns * M_PER_NS / 299_792_458.0
            along_y = np.sin(zenith) * np.sin(azimuth)
            array = np.exp(2j * np.pi * spots * along_y)
            expected += gain * np.outer(array, np.exp(-2j * np.pi * tones_hz * delay_s))
        # Delays are float32: 60 GHz turn by 2 pi in 17 ps, of which half a step in 0.5 us is 0.1 %.
        np.testing.assert_allclose(csi[ue], expected, atol=0.02 * np.abs(expected).max())
    assert not csi[-1].any()


def test_bs_of_a_sparse_scenario_share_their_ues_when_links_have_rows_of_their_own(
    tmp_path: Path,
) -> None:
    scenario = write_environment(tmp_path / "scenario_1", bs_m=FIVE_BS_M, is_dense=False)

    dataset = read_in(scenario, carriers_ghz=[60], azimuth_deg=90, ue_height_m=1.5)

    assert [site.site for site in dataset.manifest.sites] == [f"bs{i}" for i in range(5)]
    np.testing.assert_allclose(
        [site.position_m for site in dataset.manifest.sites], FIVE_BS_M, atol=1e-6
    )
    assert [band.name for band in dataset.manifest.campaign.bands] == ["60GHz"]
    for site in dataset.manifest.sites:
        links = dataset.select(scene="waird-00743", band="60GHz", site=site.site)
        np.testing.assert_allclose(links.position_m, ues(), atol=1e-5)
        assert (links.los[:-2] == LOS).all()


def test_what_is_left_out_is_counted_in_the_notes_when_limits_cut(scenario: Path) -> None:
    def twice(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
        del info
        paths["bs0_ue00000"] = {
            name: np.concatenate([array, array[:1]]) for name, array in paths["bs0_ue00000"].items()
        }
        paths["bs0_ue00000"]["order"] = np.arange(3)
        for links in responses.values():
            array = links["bs0_ue00000"]
            links["bs0_ue00000"] = np.concatenate([array, array[:1] / 2])

    changed = write_environment(scenario.parent / "twice", change=twice)
    dataset = read_in(changed, max_path_length_m=60, every=2, licence="CC-BY-4.0")

    notes = " ".join(dataset.manifest.notes)
    ue_m = ues()[::2]
    far = np.linalg.norm(ue_m * [1, 1, -1] - BS_M[0], axis=1) > 60
    near = np.linalg.norm(ue_m - BS_M[0], axis=1) > 60
    num_long = far.sum() + far[0] + near[:-1].sum()  # UE 38 has no LOS, and UE 0 a path twice
    num_silent = near[:-1].sum() + far[-1]
    assert f"cut off: {num_long:,};" in notes
    assert f"{num_silent} links in outage by that" in notes
    assert "20 of its 40 UEs were taken; their environment is 120.0 x 170.0 m" in notes
    assert "nothing tells from a stronger one, and left out: 1" in notes
    assert "Arrays of its links that were not read: order" in notes
    assert "+0.0 dB at 2.6 GHz, +0.0 dB at 60 GHz" in notes
    assert dataset.manifest.sites[0].licence == "CC-BY-4.0"


def test_licence_is_unknown_when_none_is_given(scenario: Path) -> None:
    assert read_in(scenario).manifest.sites[0].licence == "unknown"


def test_ues_without_a_path_are_counted_when_they_are_in_outage(scenario: Path) -> None:
    notes = " ".join(read_in(scenario).manifest.notes)

    assert "bs0: UEs without any path, in outage: 1" in notes
    assert f"bs0: {2 * NUM_UES - 3} paths were read, {NUM_UES - 2} of them lines of sight" in notes


def test_path_beside_a_line_of_sight_is_none_when_it_is_as_long_but_points_elsewhere(
    tmp_path: Path,
) -> None:
    def bend(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
        del info, responses
        link = paths["bs0_ue00003"]
        link["taud"][1] += 1e-5 / M_PER_NS  # 10 um, as of an edge beside the straight line
        link["dod"][1, 1] += 5e-4

    scenario = write_environment(tmp_path / "scenario_2", change=bend)
    links = read_in(scenario).select(scene="waird-00743", band="60GHz")

    assert links.los[3] == NLOS
    assert (links.los[:3] == LOS).all()


def test_suite_splits_the_points_when_they_are_imported(scenario: Path) -> None:
    dataset = read_in(scenario)
    suite = validate(
        Suite,
        {
            "name": "waird",
            "version": 1,
            "preset": "waird.yaml",
            "content_hash": "any",
            "scenes": ["waird-00743"],
            "bands": ["60GHz"],
            "seeds": [0],
            "tracks": [{"track": "interpolation", "split": {"kind": "random-tracks"}}],
        },
        where="test",
    )
    split = make_split(dataset, "waird-00743", suite.tracks[0].split, window_size=5)

    assert all(len(split.rows(part)) > 0 for part in (TRAIN, VALIDATION, TEST))
    assert split.table["window"].is_unique  # every UE is a track of its own


def test_export_to_deepmimo_is_refused_when_interactions_are_not_known(scenario: Path) -> None:
    dataset = read_in(scenario)
    with pytest.raises(DatasetError, match=r"WAIR-D.* does not tell the interactions"):
        export_deepmimo(dataset, scenario.parent / "out", scene="waird-00743", band="60GHz")
    assert not (scenario.parent / "out").exists()


def drop_link(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    del paths["bs0_ue00007"]


def drop_response(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, paths
    del responses["60_0"]["bs0_ue00007"]


def drop_array(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    del paths["bs0_ue00007"]["doa"]


def poison_delay(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    paths["bs0_ue00007"]["taud"][0] = np.nan


def turn_time_back(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    paths["bs0_ue00007"]["taud"][0] = -1


def poison_response(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, paths
    responses["2_6"]["bs0_ue00007"][0] = np.inf


def poison_info(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del paths, responses
    info[9] = np.nan


def shorten_response(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, paths
    responses["2_6"]["bs0_ue00007"] = responses["2_6"]["bs0_ue00007"][:1]


def reshape_angles(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    paths["bs0_ue00007"]["dod"] = paths["bs0_ue00007"]["dod"].T[:1]


def rename_link(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    paths["../../ue1"] = paths.pop("bs0_ue00007")


def use_seconds(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    for link in paths.values():
        link["taud"] = link["taud"] * 1e-9


def nest_objects(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, responses
    paths["bs0_ue00007"]["taud"] = np.array([np.zeros(2), np.zeros(3)], dtype=object)


def amplify(info: np.ndarray, paths: Links, responses: dict[str, Links]) -> None:
    del info, paths
    for links in responses.values():
        for name in links:
            links[name] = links[name] * 1e3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_link, "Path.npy: link bs0_ue00007 is missing, of 1 BS and 40 UEs"),
        (drop_response, "H_60_0_G.npy: link bs0_ue00007: it is missing"),
        (drop_array, "link bs0_ue00007: 'doa' is missing"),
        (poison_delay, "'taud' holds values that are no finite real numbers"),
        (poison_response, "H_2_6_G.npy: link bs0_ue00007: a response is above 1, or no number"),
        (poison_info, "Info.npy holds values that are no positions"),
        (shorten_response, "bs0_ue00007: expected 2 responses, as many as delays, got 1"),
        (turn_time_back, "'taud' is no list of delays of paths up to 1,000 km"),
        (reshape_angles, r"expected 'dod' of shape \[2, 2\], got \[1, 2\]"),
        (rename_link, r"expected links such as 'bs0_ue0', got '../../ue1'"),
        (use_seconds, "is 0.00 m long, and the straight line .* expected delays in ns"),
        (nest_objects, "link bs0_ue00007: 'taud' is damaged: expected an array of numbers"),
        (amplify, "60.0 dB above free space at 2.6 GHz"),
    ],
)
def test_import_names_the_place_when_files_are_damaged(
    tmp_path: Path, change: Callable[..., None], message: str
) -> None:
    scenario = write_environment(tmp_path / "scenario_2", change=change)
    assert re.search(message, refusal(scenario))


def test_import_is_refused_in_a_sentence_when_the_environment_is_not_whole(
    scenario: Path,
) -> None:
    inside = scenario / "00743"
    assert "holds no environment '00744'" in _sentence(scenario, "00744")
    assert "is no name of a file" in _sentence(scenario, "../scenario_2/00743")
    assert "(it has: 2.6, 60)" in refusal(scenario, carriers_ghz=[28])
    (inside / "Info.npy").write_bytes((inside / "Info.npy").read_bytes()[:-8])
    assert "Info.npy cannot be read, or is cut off" in refusal(scenario)
    np.save(inside / "Info.npy", np.arange(10.0))
    assert "expected positions of 1 BS and 40 UEs, those of Path.npy, got 10" in refusal(scenario)
    for path in inside.glob("H_*"):
        path.unlink()
    assert "no file of responses is there, such as H_2_6_G.npy" in refusal(scenario)


def _sentence(scenario: Path, name: str) -> str:
    with pytest.raises(DatasetError, match=r".") as caught:
        import_waird(scenario, name, scenario.parent / "out")
    return str(caught.value)


def test_command_prints_a_summary_and_the_notes_when_it_imports(scenario: Path) -> None:
    options = scenario.parent / "options.yaml"
    options.write_text(yaml.safe_dump({"max_ues": 10, "seed": 3}), encoding="utf-8")
    out = scenario.parent / "data"

    done = raymark(
        "waird", "import", scenario, "--env", "00743", "--out", out, "--options", options
    )

    assert done.returncode == 0, done.stderr
    assert "10 of its 40 UEs were taken" in done.stdout
    manifest = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert manifest["sites"][0]["num_ues"] == 10
    again = raymark("waird", "import", scenario, "--env", "00743", "--out", out)
    assert again.returncode == 2
    assert "exists; choose another folder" in again.stderr


class Bomb:
    """What a stranger's pickle does when it is read as pickles are."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._made_by = (call, arguments)

    def __reduce__(self) -> Any:
        return self._made_by


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes as Python 2 did: text and bytes are one, without a length of eight bytes."""

    dispatch = {  # noqa: RUF012 - that of the class above, with another way for bytes
        **pickle._Pickler.dispatch,  # type: ignore[attr-defined]
        bytes: lambda self, value: self.write(
            pickle.BINSTRING + len(value).to_bytes(4, "little") + value
        ),
    }


def object_file(path: Path, content: bytes) -> Path:
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(stream, header)
    path.write_bytes(stream.getvalue() + content)
    return path


def test_numbers_are_read_when_python_2_has_written_their_header(tmp_path: Path) -> None:
    path = tmp_path / "Info.npy"
    np.save(path, np.arange(3.0))
    path.write_bytes(path.read_bytes().replace(b"(3,), }", b"(3L,),}"))
    assert read_numbers(path).tolist() == [0, 1, 2]


def test_dictionary_is_read_when_python_2_has_pickled_it(tmp_path: Path) -> None:
    stream = io.BytesIO()
    link = {"taud": np.array([1.5, 2.5]), "dod": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    value = np.array({"bs0_ue0": {**link, "big": np.arange(3, dtype=">i4"), "n": np.float32(3)}})
    Python2Pickler(stream, 2).dump(value)

    found = read_dictionary(object_file(tmp_path / "Path.npy", stream.getvalue()))

    for name, array in link.items():
        np.testing.assert_array_equal(array_of(found["bs0_ue0"][name]), array)
    assert array_of(found["bs0_ue0"]["big"]).tolist() == [0, 1, 2]
    assert found["bs0_ue0"]["n"] == 3


@pytest.mark.parametrize("protocol", [3, 4])
def test_pickle_runs_nothing_when_it_calls_the_system(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "owned"
    value = np.array({"bs0_ue0": Bomb(os.system, f"touch {target}")}, dtype=object)
    path = object_file(tmp_path / "Path.npy", pickle.dumps(value, protocol=protocol))

    with pytest.raises(SchemaError, match=r"it asks for 'posix.system', and only arrays"):
        read_dictionary(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(os.system, f"touch {target}")))  # noqa: S301 - the canary
    assert target.exists()


def dumped(value: Any, protocol: int = 3) -> bytes:
    return pickle.dumps(value, protocol=protocol)


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8K\x00K\x01\x87R"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dumped(np.array({}, dtype=object))[:-20], "cut off"),
        (b"", "cut off"),
        (dumped([1, 2]), "expected one pickled dictionary, got something else"),
        (dumped(np.array([{}, {}], dtype=object)), "expected one pickled dictionary"),
        (dumped(Bomb(np.ndarray, (10**12,))), "cut off"),
        (dumped(Bomb(eval, "1")), "'__builtin__.eval'|'builtins.eval'"),
        (dumped(Bomb(np.load, "x")), "it asks for 'numpy.*load'"),
        (dumped({1: bytearray(9)}, 5), "it holds BYTEARRAY8"),
        (b"\x80\x02r\xff\xff\xff\xff.", "cut off"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "it counts beyond what it holds"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.", "cut off"),
        (RECONSTRUCT + b"}b.", "it changes a function"),
        (b"(i__main__\nX\n.", "it holds INST"),
        (b"P1\n.", "it holds PERSID"),
    ],
)
def test_pickle_is_refused_in_a_sentence_when_it_is_no_dictionary_of_arrays(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        read_dictionary(object_file(tmp_path / "Path.npy", content))


def stored(shape: bytes, raw: bytes, dtype: bytes = DTYPE) -> bytes:
    """Write by hand {'a': an array} with a shape, a type and a content of one's own."""
    array = RECONSTRUCT + b"(tR(K\x01" + shape + dtype + b"I00\n" + raw + b"tb"
    whole = b"(K\x01)cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87RI00\n](}X\x01\x00\x00\x00a"
    return b"\x80\x03" + RECONSTRUCT + b"(tR" + whole + array + b"setb."


@pytest.mark.parametrize(
    ("shape", "raw", "dtype", "message"),
    [
        (b"K\x02\x85", b"C\x10" + bytes(16), DTYPE, ""),
        (b"\x8a\x06\x00\x00\x00\x00\x00\x10\x85", b"C\x08" + bytes(8), DTYPE, "cut off: 8 bytes"),
        (b"K\x02\x85", b"C\x08" + bytes(8), DTYPE, "cut off"),
        (b"J\xff\xff\xff\xff\x85", b"C\x08" + bytes(8), DTYPE, "no list of lengths"),
        (b"K\x02", b"C\x10" + bytes(16), DTYPE, "no list of lengths"),
        (b"K\x02\x85", b"]", DTYPE, "no numbers"),
        (b"K\x02\x85", b"C\x10" + bytes(16), b"N", "without a type"),
        (b"K\x02\x85", b"C\x10" + bytes(16), DTYPE.replace(b"f8", b"V8"), "no numbers"),
        (b"K\x02\x85", b"C\x10" + bytes(16), DTYPE.replace(b"f8", b"c&"), "not understood"),
        (b"K\x02\x85", b"]", DTYPE.replace(b"f8", b"O8"), "objects that are not there"),
    ],
)
def test_array_of_a_pickle_is_its_bytes_when_they_are_as_many_as_its_shape_needs(
    tmp_path: Path, shape: bytes, raw: bytes, dtype: bytes, message: str
) -> None:
    found = read_dictionary(object_file(tmp_path / "Path.npy", stored(shape, raw, dtype)))
    if not message:
        assert array_of(found["a"]).tolist() == [0.0, 0.0]
        return
    with pytest.raises(ValueError, match=message):
        array_of(found["a"])


def test_numbers_are_refused_when_header_or_content_promise_more_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "Info.npy"
    np.save(path, np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    np.testing.assert_array_equal(read_numbers(path), np.arange(6.0).reshape(2, 3))
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(stream, header)
    path.write_bytes(stream.getvalue() + bytes(80))
    with pytest.raises(SchemaError, match="is cut off: 80 bytes for shape"):
        read_numbers(path)
    save(path, {"a": 1})
    with pytest.raises(SchemaError, match="type object, which are no numbers"):
        read_numbers(path)
    broken = stream.getvalue().replace(b"shape", b"sha(e")  # a header that never ends
    for content in (b"PK\x03\x04 no numbers", broken.replace(b"}", b" ")):
        path.write_bytes(content)
        with pytest.raises(SchemaError, match="is no file of NumPy"):
            read_numbers(path)
    monkeypatch.setattr("raymark.interop.plain_npy.MOST_BYTES", 8)
    with pytest.raises(SchemaError, match="is larger than 8 bytes"):
        read_numbers(path)
    with pytest.raises(SchemaError, match=r"cannot read .*: No such file"):
        read_numbers(tmp_path / "absent.npy")
