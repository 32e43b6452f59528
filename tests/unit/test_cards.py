"""The cards of datasets and of imported scenes, word for word."""

from pathlib import Path

import pytest

from raymark.dataset import Dataset
from raymark.dataset.manifest import Completeness, MissedPower
from raymark.dataset.writing.card import card_text as dataset_card
from raymark.scenes.importing.card import card_text as scene_card
from raymark.scenes.importing.report import (
    FindingCount,
    FrameRecord,
    ImportOptions,
    ImportReport,
)


@pytest.fixture
def report() -> ImportReport:
    return ImportReport(
        name="quarter",
        source="block.osm <v6> & {{ more }}",
        licence="ODbL-1.0",
        attribution="© OpenStreetMap contributors",
        input_sha256={"block.osm": "ab12"},
        options=ImportOptions(),
        frame=FrameRecord(crs="+proj=tmerc", origin_lon_deg=11.12345678, origin_lat_deg=-3.1),
        extent_m=(-100.0, -50.0, 210.4, 77.7),
        ground_offset_m=512.346,
        num_features=3,
        height_sources={"tag": 2, "assumed": 1},
        materials=("concrete",),
        num_triangles=36,
        findings=(),
        files=("scene.yaml",),
    )


SCENE_CARD = """\
# quarter

3 buildings and parts, imported from block.osm <v6> & {{ more }}.

Licence ODbL-1.0; attribution: © OpenStreetMap contributors

## Files it was made from

- `block.osm`, SHA-256 `ab12`

## Frame

x east, y north, z up [m]; the origin is at longitude 11.1234568, latitude
-3.1000000 (WGS84); CRS as PROJ string: `+proj=tmerc`.
The ground spans 310 x 128 m: a plane at z = 0.

## Heights of buildings

Above the lowest ground below each; `buildings.geojson` says which is which.

- 2 from an attribute of the building
- 1 assumed: drawn at random, with the seed

## What was repaired, merged, assumed or dropped

`findings.csv` has one row for each.

- nothing

## Materials and where ITU-R P.2040 defines them

- concrete: 1-100 GHz, 110-330 GHz

## Limits
"""


def test_scene_card_tells_sources_frame_heights_and_materials_when_written(
    report: ImportReport,
) -> None:
    assert scene_card(report).startswith(SCENE_CARD)
    assert scene_card(report).endswith("street furniture or interiors.\n")


def test_scene_card_tells_terrain_and_findings_when_there_are_some(report: ImportReport) -> None:
    findings = (
        FindingCount(action="assumed", reason="no height", count=3),
        FindingCount(action="dropped", reason="no area", count=1),
    )
    options = ImportOptions(terrain=Path("ground.tif"), terrain_spacing_m=7.5)
    text = scene_card(report.model_copy(update={"findings": findings, "options": options}))

    assert (
        "128 m: terrain from `ground.tif` on a grid of at most 7.5 m; z = 0 is at 512.35 m there.\n"
    ) in text
    assert "one row for each.\n\n- assumed: 3 x no height\n- dropped: 1 x no area\n\n" in text


def test_dataset_card_tells_bands_sites_and_notes_when_written(small_dataset: Dataset) -> None:
    missed = Completeness(num_ues=4, missed_power_share=0.00123, missed_paths_share=0.0567)
    manifest = small_dataset.manifest.model_copy(
        update={"notes": ("first <note>", "second"), "completeness": {"street_canyon/bs0": missed}}
    )
    (site,) = manifest.sites
    bands = ", ".join(band.name for band in manifest.campaign.bands)

    assert dataset_card(manifest) == (
        f"# {manifest.id}\n\n{manifest.campaign.description}\n\n"
        f"Bands: {bands}. Content hash: `{manifest.content_hash}`.\n\n"
        "| scene | site | UEs | licence |\n|---|---|---|---|\n"
        f"| street_canyon | bs0 | {site.num_ues} | {site.licence} |\n\n"
        "## How the paths were found\n\n"
        "- first <note>\n- second\n"
        "- street_canyon/bs0: about 0.12% of a UE's power and 5.7% of the paths are missed "
        "(estimated on 4 UEs by a second discovery)\n\n"
        "Read it with `raymark.open_dataset(folder)`; every array is described in the files "
        "themselves. The whole campaign stands in `dataset.json`.\n"
    )


def test_dataset_card_is_the_file_of_a_finished_dataset_when_it_was_made(
    small_dataset: Dataset,
) -> None:
    written = (small_dataset.folder / "CARD.md").read_text()

    assert written == dataset_card(small_dataset.manifest)


def test_card_tells_nlos_and_the_search_when_they_are_known(small_dataset: Dataset) -> None:
    nlos = MissedPower(num_ues=3, mean_share=0.0102, p95_share=0.026)
    known = {"num_ues": 4, "missed_power_share": 0.005, "missed_paths_share": 0.01}
    earlier = Completeness.model_validate(known)
    today = Completeness.model_validate(
        {**known, "method": "denser edges", "by_label": {"NLOS": nlos}}
    )
    manifest = small_dataset.manifest.model_copy(
        update={"completeness": {"a/bs0": earlier, "b/bs0": today}}
    )

    text = dataset_card(manifest)

    assert (
        "- a/bs0: about 0.50% of a UE's power and 1.0% of the paths are missed (estimated on 4 UEs "
        "by a second discovery)\n"
        "- b/bs0: about 0.50% of a UE's power (NLOS: mean 1.02%, p95 2.60%) and 1.0% of the paths "
        "are missed (estimated on 4 UEs by a search that is denser at the edges that matter to "
        "them)\n"
    ) in text
    assert earlier.model_dump() == {**known}
