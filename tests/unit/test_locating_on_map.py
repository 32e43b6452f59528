"""Links without labels on a small map of our own: where they are found, and what is refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trimesh
import yaml
from command_line import raymark

from raymark.cli.locating import (
    DEFAULT_AREA,
    Assumptions,
    LocatedOnMap,
    LocatingSettings,
    MapKeeping,
    locate_on_map,
)
from raymark.cli.locating.explaining import located_links
from raymark.cli.locating.results import error_rows
from raymark.dataset import Dataset
from raymark.dataset.materialization import materialize
from raymark.dataset.samplings import GridSampling
from raymark.dataset.schema import OUTAGE
from raymark.errors import ConfigError, SceneError
from raymark.generator.scene_maps import scene_map, site_of
from raymark.models.twin.unlabelled import weakest_db
from raymark.plots import plot_link_posterior
from raymark.radio import SPEED_OF_LIGHT_M_S, Receiver, parse_bands
from raymark.scenes import get_scene

BAD_INPUT = 2
AREA = DEFAULT_AREA.model_copy(update={"max_range_m": 48.0, "spacing_m": 2.5})
SITE = {"name": "bs0", "position_m": [-30.0, 0.0, 12.0], "azimuth_deg": 20.0, "downtilt_deg": 5.0}
BLOCKS = {"north": (-10.0, 12.0), "middle": (-5.0, -8.0), "south": (5.0, -30.0)}

WriteScene = Callable[..., Path]
MakeDataset = Callable[..., Dataset]


def blocks() -> dict[str, tuple["trimesh.Trimesh", str]]:
    """Three houses of 15 x 12 x 20 m on flat ground."""
    ground = trimesh.Trimesh(
        [[-150, -150, 0], [150, -150, 0], [150, 150, 0], [-150, 150, 0]], [[0, 1, 2], [0, 2, 3]]
    )
    made = {
        name: (trimesh.creation.box(bounds=[[x, y, 0], [x + 15, y + 12, 20]]), "brick")
        for name, (x, y) in BLOCKS.items()
    }
    return {"ground": (ground, "concrete"), **made}


@pytest.fixture(scope="module")
def place(write_scene: WriteScene) -> Path:
    return write_scene("houses", blocks(), [SITE])


@pytest.fixture(scope="module")
def csi(place: Path, make_dataset: MakeDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CSI of links that our own generator has traced there, with product noise."""
    data = make_dataset(
        {
            "name": "houses",
            "seed": 3,
            "scenes": [str(place)],
            "bands": ["6GHz"],
            "sampling": {"kind": "uniform", "num_ues": 24, "max_range_m": 45.0},
            "tracer": {"diffraction": True, "weld_edges": True, "discovery": "quick"},
        }
    )
    file = tmp_path_factory.mktemp("csi") / "houses.h5"
    materialize(data, file, scene="houses", band="6GHz")
    return file


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@pytest.fixture(scope="module")
def located(place: Path, csi: Path, cache: Path) -> LocatedOnMap:
    settings = LocatingSettings(area=AREA, keeping=MapKeeping(folder=cache))
    return locate_on_map(get_scene(str(place)), csi, settings)


def asked(place: Path, csi: Path, cache: Path) -> list[object]:
    options = ["--range", 48, "--spacing", 2.5, "--cache", cache]
    return ["locate", "--scene", place, "--csi", csi, *options]


def said(*arguments: object) -> tuple[int, str, str]:
    done = raymark(*arguments)
    return done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split())


def errors_m(located: LocatedOnMap) -> np.ndarray:
    assert located.file.position_m is not None
    return np.linalg.norm(located.found.position_m - located.file.position_m, axis=1)


def test_links_are_found_within_a_metre_when_the_map_is_exact(located: LocatedOnMap) -> None:
    error_m, found = errors_m(located), located.found
    clear = (found.num_paths >= 4) & (found.peak_share > 0.9)

    # A cell is 2.5 m wide, and paths are taken to be off by a metre.
    assert clear.sum() >= 12
    assert np.median(error_m[clear]) < 0.5
    assert error_m[clear].max() < 1.5
    assert (error_m[found.num_paths > 0] < 1.5).mean() > 0.8
    assert (found.num_explained[clear] >= 3).all()


def test_covariance_holds_the_truth_when_widths_are_not_calibrated(located: LocatedOnMap) -> None:
    found = located.found
    assert located.file.position_m is not None
    offset_m = found.position_m - located.file.position_m
    squared = np.einsum("li,lij,lj->l", offset_m, np.linalg.inv(found.covariance_m2), offset_m)

    assert (squared < -2 * np.log(0.1)).mean() > 0.8
    np.testing.assert_allclose(
        found.deviation_m**2, found.covariance_m2[:, 0, 0] + found.covariance_m2[:, 1, 1]
    )
    assert ((found.peak_share > 0) & (found.peak_share <= 1 + 1e-9)).all()
    np.testing.assert_allclose(found.mode_share.sum(axis=1), 1.0)


def test_explained_paths_are_as_long_as_measured_ones_when_they_are_drawn(
    located: LocatedOnMap,
) -> None:
    """The corners of the drawn paths, added up by hand, against the ranges of the estimates."""
    gaps_m, found = [], located.found
    for link in np.flatnonzero(found.num_explained >= 3):
        ranges_m = located.measured.path_range_m[link][located.measured.path_mask[link]]
        paths = located_links(located.locator, found).links
        first, last = paths.path_offset[link : link + 2]
        for row in range(first, last):
            corners = paths.vertex_m[row][paths.interaction[row] != 0]
            way = np.vstack([SITE["position_m"], corners, paths.position_m[link]])
            length_m = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
            gaps_m.append(np.abs(ranges_m - length_m).min())
            assert abs(paths.delay_s[row] * SPEED_OF_LIGHT_M_S - length_m) < 2.0

    # Points of a path are those of the nearest candidate, at most 1.4 m away.
    assert len(gaps_m) > 40
    assert np.quantile(gaps_m, 0.9) < 2.0


def test_label_is_that_of_the_scene_when_a_straight_path_is_explained(
    located: LocatedOnMap,
) -> None:
    los = located_links(located.locator, located.found).links.los
    assert located.file.los is not None

    assert (los == located.file.los).mean() > 0.85
    assert {0, 1} <= set(los.tolist())


def test_link_has_a_wide_posterior_when_it_shows_no_path(
    place: Path, cache: Path, tmp_path: Path
) -> None:
    receiver = Receiver(band=parse_bands("6GHz")[0])
    noise = np.random.default_rng(0).standard_normal((2, 3, 64, 64)) * 1e-12
    np.savez(tmp_path / "noise.npz", csi=noise[0] + 1j * noise[1])
    settings = LocatingSettings(band="6GHz", area=AREA, keeping=MapKeeping(folder=cache))

    silent = locate_on_map(get_scene(str(place)), tmp_path / "noise.npz", settings)

    assert (silent.found.num_paths == 0).all()
    assert (silent.found.deviation_m > 5.0).all()
    assert (silent.found.num_explained == 0).all()
    assert silent.errors == []
    assert any("3 of the links show no path" in note for note in silent.notes)
    assert silent.locator.receiver == receiver


def test_errors_count_every_link_once_when_labels_contradict_the_paths(
    located: LocatedOnMap,
) -> None:
    found, los = located.found, located.file.los
    assert los is not None
    assert located.file.position_m is not None
    shows = np.flatnonzero(found.num_paths)
    los = los.copy()
    los[shows[:3]] = OUTAGE

    rows = error_rows(found, located.file.position_m, los)

    counts = {row["links"]: row["number"] for row in rows}
    assert counts["outage, with a path"] == 3
    assert sum(counts.values()) == len(found)


def test_a_note_says_so_when_the_map_explains_no_path(located: LocatedOnMap) -> None:
    none = np.zeros_like(located.found.num_explained)
    strange = dataclasses.replace(
        located, found=dataclasses.replace(located.found, num_explained=none)
    )

    said = "the map explains no path of any link"
    assert any(said in note for note in strange.notes)
    assert not any(said in note for note in located.notes)


def test_weakest_path_is_where_noise_is_when_antennas_and_tones_are_summed() -> None:
    """k T B F over the UE's power, and 11 dB or so above it, over 64 antennas and 64 tones."""
    noise = 1.380649e-23 * 290 * 50e6 * 10**0.5 / 10 ** (-0.7)

    above_db = weakest_db(Receiver(band=parse_bands("6GHz")[0])) - 10 * np.log10(noise / 4096)

    assert 10.0 < above_db < 14.0


@pytest.mark.parametrize("name", ["range_m", "cosine", "temper"])
def test_assumption_is_refused_when_it_is_no_width(name: str) -> None:
    with pytest.raises(ConfigError, match=f"assumption {name} must be above 0, got 0"):
        Assumptions(**{name: 0.0})


def test_map_is_traced_once_when_it_is_asked_for_twice(
    place: Path, cache: Path, located: LocatedOnMap
) -> None:
    told: list[str] = []
    scene, site = get_scene(str(place)), site_of(get_scene(str(place)), None)

    again = scene_map(
        *(scene, site, located.locator.receiver),
        area=AREA,
        keeping=MapKeeping(folder=cache),
        progress=lambda stage, _done, _total: told.append(stage),
    )

    assert told == []
    assert again.manifest.content_hash == located.locator.city.manifest.content_hash


def edit(place: Path) -> None:
    """Raise the site of a scene by 2 m."""
    settings = yaml.safe_load((place / "scene.yaml").read_text())
    settings["sites"][0]["position_m"][2] += 2.0
    (place / "scene.yaml").write_text(yaml.safe_dump(settings))


def test_map_is_refused_when_its_scene_was_edited_since(
    place: Path, csi: Path, cache: Path, located: LocatedOnMap
) -> None:
    assert located.scene.name == "houses"
    before = (place / "scene.yaml").read_text()
    edit(place)

    code, _, err = said(*asked(place, csi, cache))

    (place / "scene.yaml").write_text(before)
    assert code == BAD_INPUT
    assert "scene 'houses' was edited since its map was traced" in err
    assert "add --renew to trace it anew" in err


@pytest.mark.slow
def test_map_is_traced_anew_on_demand_when_its_scene_was_edited(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    place = write_scene("edited", blocks(), [SITE])
    receiver = Receiver(band=parse_bands("6GHz")[0])
    area = GridSampling(spacing_m=15.0, max_range_m=50.0)

    def trace(*, renew: bool) -> float:
        scene = get_scene(str(place))
        keeping = MapKeeping(folder=tmp_path, renew=renew)
        city = scene_map(scene, site_of(scene, "bs0"), receiver, area=area, keeping=keeping)
        return city.manifest.sites[0].position_m[2]

    assert trace(renew=False) == 12.0
    edit(place)
    with pytest.raises(SceneError, match=r"'edited' was edited since its map was traced.*--renew"):
        trace(renew=False)
    assert trace(renew=True) == 14.0
    assert trace(renew=False) == 14.0


def test_figure_shows_posterior_paths_and_truth_when_a_link_is_drawn(
    located: LocatedOnMap,
) -> None:
    link = int(np.argmax(located.found.num_explained))
    shown = located.posterior(link)

    ax = plot_link_posterior(shown)

    np.testing.assert_allclose(shown.share.sum(), 1.0)
    mesh = next(c for c in ax.collections if c.get_array() is not None)
    assert float(mesh.get_array().max()) == pytest.approx(float(shown.share.max()))
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(np.ravel(lines["found"].get_data()), shown.position_m)
    assert located.file.position_m is not None
    np.testing.assert_allclose(np.ravel(lines["true"].get_data()), located.file.position_m[link])
    ways = [line for line in ax.get_lines() if tuple(line.get_xydata()[:1].ravel()) == (-30.0, 0.0)]
    assert len(ways) == len(shown.corner_m) + 1  # and the mark of the site itself
    assert shown.error_m == pytest.approx(errors_m(located)[link])
    assert ax.get_title(loc="left").endswith(f"error {shown.error_m:.2f} m")


def test_command_writes_table_figure_and_page_when_all_is_right(
    place: Path, csi: Path, cache: Path, located: LocatedOnMap, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("mine.txt", "link-map.png", "link-9.png", "locations.csv"):
        (out / name).write_text("former")
    command = [*asked(place, csi, cache), "--out", out, "--plot", 2, "--view"]

    code, _, err = said(*command)
    assert (code, "exists; choose another folder or add --overwrite" in err) == (BAD_INPUT, True)
    code, told, err = said(*command, "--overwrite")

    assert code == 0, err
    assert "paths are taken to be off by 1 m" in told
    assert "23 dBm of the UE, noise figure 5 dB" in told
    assert "errors against the positions in the file" in told
    table = pd.read_csv(out / "locations.csv")
    np.testing.assert_allclose(table[["x_m", "y_m"]], located.found.position_m, atol=1e-6)
    with np.load(out / "locations.npz") as arrays:
        np.testing.assert_allclose(arrays["covariance_m2"], located.found.covariance_m2)
        np.testing.assert_array_equal(arrays["num_paths"], located.found.num_paths)
    assert json.loads((out / "report.json").read_text())["assumptions"]["range_m"] == 1.0
    assert (out / "link-2.png").stat().st_size > 10_000
    with np.load(out / "link-2.npz") as drawn:
        assert drawn["share"].sum() == pytest.approx(1.0)
        assert len(drawn["corner_m"]) == drawn["corner_offset"][-1]
    page = (out / "locations.html").read_text()
    assert "site0/posterior_share" in page
    assert 'id="located-note"' in page
    assert sorted(path.name for path in out.iterdir()) == [
        *(
            "link-2.npz",
            "link-2.png",
            "link-map.png",
            "locations.csv",
            "locations.html",
            "locations.npz",
        ),
        *("mine.txt", "report.json"),
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--site", "bs1"], "has no site 'bs1'; did you mean 'bs0'"),
        (["--band", "28GHz"], "was measured at 6 GHz, band '28GHz' is at 28 GHz"),
        (["--plot", 0], "--plot and --view write files; say where they go (--out DIR)"),
        (["--out", "x", "--plot", 99], "has links 0 to 23, not link 99"),
        (["--range", 400], "candidates up to 400 m are asked for, and band '6GHz' tells lengths"),
        (["--csi", "no.npz"], "CSI file no.npz does not exist"),
    ],
)
def test_command_says_one_sentence_when_an_option_is_wrong(
    options: list[object], sentence: str, place: Path, csi: Path, cache: Path
) -> None:
    code, _, err = said(*asked(place, csi, cache), *options)

    assert code == BAD_INPUT
    assert err.count("error:") == 1
    assert sentence in err


def write_csi(folder: Path, *shape: int) -> Path:
    np.savez(folder / "csi.npz", csi=np.full(shape, 1e-4, dtype="c8"))
    return folder / "csi.npz"


def test_command_refuses_csi_when_it_is_of_another_panel(
    place: Path, cache: Path, tmp_path: Path
) -> None:
    file = write_csi(tmp_path, 2, 16, 64)
    receiver = tmp_path / "receiver.yaml"
    receiver.write_text("band: 6GHz\nfront_end: {panel: {num_rows: 2, num_cols: 4}}\n")

    code, _, err = said(*asked(place, file, cache), "--band", "6GHz")
    assert code == BAD_INPUT
    assert "must have 64 antennas and 64 tones of band 6GHz" in err
    code, _, err = said(*asked(place, file, cache), "--receiver", receiver)
    assert code == BAD_INPUT
    assert "must have 8 antennas and 64 tones" in err
    code, _, err = said(*asked(place, file, cache))
    assert code == BAD_INPUT
    assert "does not tell its band; name it (--band 6GHz)" in err


def test_command_refuses_a_band_when_a_material_is_undefined_there(
    place: Path, cache: Path, tmp_path: Path
) -> None:
    code, _, err = said(*asked(place, write_csi(tmp_path, 2, 64, 64), cache), "--band", "60GHz")

    assert code == BAD_INPUT
    assert "material 'brick' is defined for" in err
    assert "estimating" not in err


def scene_of(write_scene: WriteScene, name: str, **changed: object) -> Path:
    return write_scene(name, blocks(), [{**SITE, **changed}])


@pytest.mark.parametrize(
    ("name", "changed", "sentence"),
    [
        ("outside", {"position_m": [900.0, 0.0, 12.0]}, "outside the scene, which spans"),
        ("inside", {"position_m": [0.0, 18.0, 5.0]}, "inside a building"),
    ],
)
def test_command_refuses_a_site_when_it_is_not_in_the_open(
    name: str,
    changed: dict[str, object],
    sentence: str,
    write_scene: WriteScene,
    tmp_path: Path,
) -> None:
    place = scene_of(write_scene, name, **changed)

    code, _, err = said(*asked(place, write_csi(tmp_path, 1, 64, 64), tmp_path), "--band", "6GHz")

    assert (code, sentence in err) == (BAD_INPUT, True), err


def test_command_refuses_a_map_when_it_has_no_building_or_no_site(
    flat_ground: Path, write_scene: WriteScene, tmp_path: Path
) -> None:
    file = write_csi(tmp_path, 1, 64, 64)

    code, _, err = said(*asked(flat_ground, file, tmp_path), "--band", "6GHz")
    assert (code, "no building" in err) == (BAD_INPUT, True), err
    code, _, err = said(*asked(write_scene("bare", blocks(), []), file, tmp_path))
    assert code == BAD_INPUT
    assert "scene 'bare' has no site; run `raymark scenes add-site" in err
