"""The 3D page of a scene: what is embedded equals the dataset, and nothing is loaded."""

import base64
import dataclasses
import gzip
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
import yaml

from raymark.dataset import Dataset, open_dataset
from raymark.errors import ConfigError, DatasetError, SceneError
from raymark.generator.preview import load_geometry
from raymark.generator.viewer import ViewChoice, scene_triangles, view_scene
from raymark.plots import LABEL_STYLES
from raymark.radio import SPEED_OF_LIGHT_M_S
from raymark.scenes import Scene, get_scene
from raymark.viewer import LinkPosteriors, keep_paths, render_view, take_links, write_view

ROUNDING_M = 0.005 + 1e-6
"""Half a centimetre, and what float64 adds to it."""
FLOAT32_DB = 2e-5
"""Half a unit in the last place of float32 at 200 dB is 8e-6; the power was rounded before."""
VOID = {"meta", "link", "input", "br", "hr", "img"}

WriteScene = Callable[..., Path]


class Page(HTMLParser):
    """All elements of a page with what they hold; a tag that does not close its own fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, str] = {}
        self.words = ""
        self._id = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._id = dict(attrs).get("id") or tag
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self._id] = self.texts.get(self._id, "") + data
        if self.open and self.open[-1] not in {"script", "style"}:
            self.words += data


def read_page(path: Path) -> tuple[Page, dict[str, Any], dict[str, np.ndarray]]:
    """Decode what a page holds, in a few naive lines."""
    page = Page(path.read_text(encoding="utf-8"))
    plain = json.loads(page.texts["view-plain"])
    block = gzip.decompress(base64.b64decode(page.texts["view-block"]))
    arrays = {}
    for name, place in plain["arrays"].items():
        count = int(np.prod(place["shape"]))
        flat = np.frombuffer(block, "<" + place["type"], count=count, offset=place["start"])
        arrays[name] = flat.reshape(place["shape"])
    return page, plain, arrays


def site_arrays(arrays: dict[str, np.ndarray], index: int = 0) -> dict[str, np.ndarray]:
    start = f"site{index}/"
    return {name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)}


@pytest.fixture(scope="module")
def canyon_page(tmp_path_factory: pytest.TempPathFactory, small_dataset: Dataset) -> Path:
    out = tmp_path_factory.mktemp("page") / "canyon.html"
    view_scene(get_scene("street_canyon"), out, ViewChoice(band="28GHz"), dataset=small_dataset)
    return out


def test_page_holds_the_paths_of_the_dataset_when_it_is_given(
    canyon_page: Path, small_dataset: Dataset
) -> None:
    _, plain, arrays = read_page(canyon_page)
    links = site_arrays(arrays)
    selection = small_dataset.select(scene="street_canyon", band="28GHz")
    table, detail = selection.path_table(0, 50), selection.detail_table(0, 50)
    np.testing.assert_array_equal(links["position_m"], selection.position_m)
    np.testing.assert_array_equal(links["los"], selection.los)
    np.testing.assert_array_equal(links["ue_index"], np.arange(50))
    np.testing.assert_array_equal(links["path_offset"], table.path_offset)
    assert plain["band"] == "28GHz"
    assert len(table.delay_s) > 100
    for low, high in zip(table.path_offset[:-1], table.path_offset[1:], strict=True):
        level_db = 20 * np.log10(np.maximum(np.abs(table.amplitude[low:high]), 1e-10))
        order = np.argsort(-level_db, kind="stable")
        for name, stored in {
            "delay_s": table.delay_s,
            "interaction": table.interaction,
            "vertex_m": detail.vertex_m,
        }.items():
            np.testing.assert_array_equal(links[name][low:high], stored[low:high][order])
        np.testing.assert_allclose(links["gain_db"][low:high], level_db[order], atol=FLOAT32_DB)


def test_page_names_the_stored_material_when_a_path_is_reflected(
    canyon_page: Path, small_dataset: Dataset
) -> None:
    _, plain, arrays = read_page(canyon_page)
    links = site_arrays(arrays)
    shown = np.array([*plain["materials"], ""])[links["material"]]

    shards = sorted(small_dataset.manifest.shards, key=lambda s: s.first_ue)
    stored = [small_dataset.load_shard(shard, "detail")["path/material"] for shard in shards]
    # street_canyon has brick, concrete and marble; materials of a dataset are sorted.
    names = np.array(["brick", "concrete", "marble", ""])[np.concatenate(stored)]

    assert plain["materials"] == ["brick", "concrete", "marble"]
    assert sorted(map(tuple, shown.tolist())) == sorted(map(tuple, names.tolist()))
    np.testing.assert_array_equal(shown == "", links["interaction"] == 0)


def test_page_holds_posteriors_when_links_were_located(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    out, choice = tmp_path / "x.html", ViewChoice(band="28GHz", num_links=3)
    view = view_scene(get_scene("street_canyon"), out, choice, dataset=small_dataset)
    rng = np.random.default_rng(0)
    posteriors = LinkPosteriors(
        offset=np.array([0, 2, 2, 5]),
        position_m=rng.normal(size=(5, 3)).astype("f4"),
        share=rng.random(5).astype("f4"),
    )
    located = dataclasses.replace(view.sites[0], posteriors=posteriors)

    write_view(dataclasses.replace(view, sites=(located,)), out, overwrite=True)

    page, plain, arrays = read_page(out)
    links = site_arrays(arrays)
    for name in ("offset", "position_m", "share"):
        np.testing.assert_array_equal(links[f"posterior_{name}"], getattr(posteriors, name))
    assert plain["sites"][0]["is_located"]
    assert "UEs stand where they were found" in page.words


def test_links_keep_their_paths_when_some_are_taken_and_some_left_out(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    choice = ViewChoice(band="28GHz", num_links=6)
    view = view_scene(
        get_scene("street_canyon"), tmp_path / "x.html", choice, dataset=small_dataset
    )
    links = view.sites[0].links
    rows = np.array([4, 0, 4])

    taken = take_links(links, rows)
    strong = keep_paths(taken, taken.gain_db > -120)

    for i, row in enumerate(rows):
        whole = slice(*links.path_offset[row : row + 2])
        kept = slice(*strong.path_offset[i : i + 2])
        is_strong = links.gain_db[whole] > -120
        np.testing.assert_array_equal(taken.position_m[i], links.position_m[row])
        np.testing.assert_array_equal(strong.delay_s[kept], links.delay_s[whole][is_strong])
        np.testing.assert_array_equal(strong.vertex_m[kept], links.vertex_m[whole][is_strong])
    assert 0 < len(strong.delay_s) < len(taken.delay_s)


def test_page_holds_all_triangles_when_they_are_rounded(canyon_page: Path) -> None:
    _, _, arrays = read_page(canyon_page)
    shown = arrays["mesh/vertex_cm"][arrays["mesh/face"]] / 100
    scene = get_scene("street_canyon", {"num_blocks_x": 4, "num_blocks_y": 4, "seed": 3})

    corner_m = load_geometry(scene)[0].triangles.corner_m

    assert shown.shape == corner_m.shape
    assert np.abs(shown - corner_m).max() <= ROUNDING_M


def test_page_loads_nothing_and_is_well_formed_when_it_is_parsed(canyon_page: Path) -> None:
    page, _, _ = read_page(canyon_page)
    loading = {"src", "href", "srcset", "data", "action", "poster"}

    assert [a for a in page.attributes if a[1] in loading] == [("link", "href", "data:,")]
    policy = next(v for _, name, v in page.attributes if v.startswith("default-src"))
    assert "http" not in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"url\(|@import", page.texts["style"])
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_page_names_licence_and_label_colors_when_it_is_made(canyon_page: Path) -> None:
    page, plain, _ = read_page(canyon_page)
    settings = get_scene("street_canyon").settings

    assert settings.attribution in page.words
    assert settings.licence in page.words
    assert {(s["code"], s["color"]) for s in plain["labels"]} == {
        (code, style.color) for code, style in LABEL_STYLES.items()
    }


def test_page_is_the_same_when_it_is_made_again(
    canyon_page: Path, small_dataset: Dataset, tmp_path: Path
) -> None:
    choice = ViewChoice(band="28GHz")
    view = view_scene(
        get_scene("street_canyon"), tmp_path / "a.html", choice, dataset=small_dataset
    )

    assert render_view(view) == canyon_page.read_text(encoding="utf-8")


def test_links_are_drawn_by_seed_when_there_are_more(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    scene, numbers = get_scene("street_canyon"), []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / f"{name}.html"
        view_scene(scene, out, ViewChoice(num_links=12, seed=seed), dataset=small_dataset)
        links = site_arrays(read_page(out)[2])
        numbers.append(links["ue_index"].tolist())
        selection = small_dataset.select(scene="street_canyon", band="2.6GHz")
        np.testing.assert_array_equal(links["position_m"], selection.position_m[numbers[-1]])
        counts = np.diff(selection.path_table(0, 50).path_offset)[numbers[-1]]
        np.testing.assert_array_equal(np.diff(links["path_offset"]), counts)

    assert numbers[0] == numbers[1] != numbers[2]
    assert len(set(numbers[0])) == 12
    assert numbers[0] == sorted(numbers[0])


def two_sites(dataset: Dataset) -> Scene:
    return get_scene(dataset.manifest.campaign.scenes[0].name)


def test_page_holds_every_site_when_none_is_chosen(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    scene = two_sites(two_site_dataset)
    view_scene(scene, tmp_path / "all.html", dataset=two_site_dataset)
    view_scene(scene, tmp_path / "one.html", ViewChoice(site="east"), dataset=two_site_dataset)

    _, plain, arrays = read_page(tmp_path / "all.html")
    _, plain_one, arrays_one = read_page(tmp_path / "one.html")

    assert [site["name"] for site in plain["sites"]] == ["west", "east"]
    assert [site["name"] for site in plain_one["sites"]] == ["east"]
    assert plain["sites"][1]["position_m"] == [50.0, 0.0, 10.0]
    assert plain["sites"][1]["azimuth_rad"] == pytest.approx(np.pi)
    assert plain["sites"][1]["ground_m"] == pytest.approx(0.0, abs=1e-6)
    for name, array in site_arrays(arrays_one).items():
        np.testing.assert_array_equal(array, site_arrays(arrays, 1)[name])


def test_paths_have_the_lengths_of_mirror_images_when_they_are_traced(
    flat_ground: Path, tmp_path: Path
) -> None:
    view_scene(
        get_scene(str(flat_ground)), tmp_path / "flat.html", ViewChoice(num_links=4, band="28GHz")
    )
    _, plain, arrays = read_page(tmp_path / "flat.html")
    links = site_arrays(arrays)

    assert plain["band"] == "28GHz"
    assert links["los"].tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(links["path_offset"], [0, 2, 4, 6, 8])
    for i, position_m in enumerate(links["position_m"].astype("f8")):
        for row in (2 * i, 2 * i + 1):
            reflected = links["interaction"][row, 0] == 1
            image = np.array([0.0, 0.0, -10.0 if reflected else 10.0])
            length_m = np.linalg.norm(position_m - image)
            # float32 delays and positions of some 100 m
            assert links["delay_s"][row] * SPEED_OF_LIGHT_M_S == pytest.approx(length_m, abs=1e-4)
        assert sorted(links["interaction"][2 * i : 2 * i + 2, 0].tolist()) == [0, 1]


def test_ground_is_what_lies_lowest_when_there_is_a_box_on_a_slope(
    write_scene: WriteScene,
) -> None:
    slope = trimesh.Trimesh(
        vertices=[[-50, -50, 0], [50, -50, 30], [50, 50, 30], [-50, 50, 0]],
        faces=[[0, 1, 2], [0, 2, 3]],
        process=False,
    )
    box = trimesh.creation.box(bounds=[[-5, -5, 5], [5, 5, 40]])
    meshes = {"slope": (slope, "concrete"), "box": (box, "brick")}
    loaded, _ = load_geometry(get_scene(str(write_scene("slope", meshes, []))))
    corner_m = loaded.triangles.corner_m

    triangles = scene_triangles(loaded, corner_m)

    on_slope = np.abs(corner_m[..., 2] - 0.3 * (corner_m[..., 0] + 50)).max(axis=1) < 1e-3
    is_floor = (corner_m[..., 2] == 5).all(axis=1)  # below the slope, so that it is met first
    assert on_slope.sum() == is_floor.sum() == 2
    np.testing.assert_array_equal(triangles.is_ground, on_slope | is_floor)


def test_page_shows_the_geometry_alone_when_there_is_no_site(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    box = trimesh.creation.box(bounds=[[-5, -5, 0], [5, 5, 10]])
    folder = write_scene("bare", {"box": (box, "brick")}, [])

    view_scene(get_scene(str(folder)), tmp_path / "bare.html")
    page, plain, arrays = read_page(tmp_path / "bare.html")

    assert len(arrays["mesh/face"]) == 12
    assert plain["sites"] == []
    assert "no base station" in page.words


def test_markup_in_a_title_stays_text_when_a_scene_has_it(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    box = trimesh.creation.box(bounds=[[-5, -5, 0], [5, 5, 10]])
    folder = write_scene("hostile", {"box": (box, "brick")}, [])
    settings = yaml.safe_load((folder / "scene.yaml").read_text(encoding="utf-8"))
    hostile = "</script><img src='http://x.invalid/a.png'>"
    (folder / "scene.yaml").write_text(
        yaml.safe_dump(settings | {"title": hostile, "attribution": hostile}), encoding="utf-8"
    )

    view = view_scene(get_scene(str(folder)), tmp_path / "hostile.html")
    view = dataclasses.replace(view, materials=(hostile,))
    write_view(view, tmp_path / "hostile.html", overwrite=True)
    page, plain, _ = read_page(tmp_path / "hostile.html")

    assert [a for a in page.attributes if a[0] == "img"] == []
    assert page.words.count(hostile) == 3  # title, heading and footer
    assert plain["materials"] == [hostile]


@pytest.mark.parametrize(
    ("scene", "choice", "sentence"),
    [
        ("munich", ViewChoice(), "has no scene 'munich'"),
        ("street_canyon", ViewChoice(site="bs1"), "has no site 'bs1'; did you mean 'bs0'"),
        ("street_canyon", ViewChoice(band="39GHz"), "has no band '39GHz'"),
    ],
)
def test_dataset_is_refused_when_it_lacks_what_is_asked_for(
    small_dataset: Dataset, tmp_path: Path, scene: str, choice: ViewChoice, sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        view_scene(get_scene(scene), tmp_path / "a.html", choice, dataset=small_dataset)
    assert list(tmp_path.iterdir()) == []


def test_dataset_is_refused_when_its_detail_files_are_missing(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    folder = shutil.copytree(two_site_dataset.folder, tmp_path / "data")
    shutil.rmtree(folder / "detail")

    with pytest.raises(DatasetError, match=r"part-0000.h5 is missing, and it holds the points"):
        view_scene(two_sites(two_site_dataset), tmp_path / "a.html", dataset=open_dataset(folder))


def test_dataset_is_refused_when_the_scene_has_changed(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    folder = shutil.copytree(two_sites(two_site_dataset).folder, tmp_path / "two_sites")
    text = (folder / "scene.yaml").read_text(encoding="utf-8")
    (folder / "scene.yaml").write_text(text.replace("made by a test", "moved"), encoding="utf-8")

    with pytest.raises(DatasetError, match="was made from another scene 'two_sites'"):
        view_scene(Scene(folder), tmp_path / "a.html", dataset=two_site_dataset)


def test_file_is_refused_when_it_exists_or_is_no_html(flat_ground: Path, tmp_path: Path) -> None:
    scene, out = get_scene(str(flat_ground)), tmp_path / "a.html"
    out.write_text("mine", encoding="utf-8")

    with pytest.raises(DatasetError, match="add --overwrite"):
        view_scene(scene, out)
    with pytest.raises(ConfigError, match=r"must end in \.html"):
        view_scene(scene, tmp_path / "a.png")
    assert out.read_text(encoding="utf-8") == "mine"
    view_scene(scene, out, ViewChoice(num_links=1), overwrite=True)
    assert out.stat().st_size > 100_000


def test_site_is_refused_when_the_scene_has_none_of_that_name(
    flat_ground: Path, tmp_path: Path
) -> None:
    with pytest.raises(SceneError, match="has no site 'bs9'; did you mean 'bs0'"):
        view_scene(get_scene(str(flat_ground)), tmp_path / "a.html", ViewChoice(site="bs9"))
