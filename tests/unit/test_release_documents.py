import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlcroissant
import pandas as pd
import pytest
import yaml

from raymark.config import seal_of
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.subset import Cut, cut_dataset
from raymark.errors import ConfigError
from raymark.interop.deepmimo_export import export_deepmimo
from raymark.interop.deepmimo_import import import_deepmimo
from raymark.release import BuildSettings, build_release, card_page, read_release
from raymark.release.croissant import check_records, validate_croissant
from raymark.release.documents import documents
from raymark.release.preview import split_card
from raymark.release.record import About, Author


def all_documents(folder: Path, **about: Any) -> dict[str, str]:
    release = read_release(folder)
    changed = release.model_copy(update={"about": release.about.model_copy(update=about)})
    return documents(changed, open_dataset(folder), release.files)


def test_card_front_matter_names_files_that_exist_when_read_by_a_host(
    benchmark_release: Path,
) -> None:
    front_matter, _ = split_card((benchmark_release / "README.md").read_text(encoding="utf-8"))

    names = {item["config_name"]: item["data_files"] for item in front_matter["configs"]}
    assert set(names) == {"yard_6GHz", "street_canyon_28GHz"}
    assert all((benchmark_release / file).is_file() for file in names.values())
    assert front_matter["license"] == "cc-by-4.0"
    assert front_matter["size_categories"] == ["n<1K"]


def test_card_shares_are_those_of_the_index_when_computed(
    benchmark_release: Path, benchmark_dataset: Dataset
) -> None:
    _, text = split_card((benchmark_release / "README.md").read_text(encoding="utf-8"))
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "| 6GHz |" in line]
    found = {row[0]: float(row[3]) for row in rows if row[1] == "6GHz"}

    index = benchmark_dataset.index
    for scene, links in index.groupby("scene"):
        assert found[scene] == pytest.approx((links["los"] == 1).mean(), rel=5e-3)


@pytest.mark.slow
def test_card_of_a_subset_has_other_numbers_when_ues_are_cut(
    benchmark_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    cut_dataset(benchmark_dataset, tmp_path / "cut", Cut(num_ues=30, bands=("6GHz",)))
    settings = dataclasses.replace(release_settings, materialized=(), benchmark=None)
    build_release(tmp_path / "cut", tmp_path / "release", settings)

    text = (tmp_path / "release" / "README.md").read_text(encoding="utf-8")

    assert "90 links at 1 band (6GHz)" in text
    assert "Cut from benchmark-" in text
    assert "fingerprints/" not in text
    assert "## Baselines" not in text
    assert split_card(text)[0]["configs"] == [
        {"config_name": "index", "data_files": "index.parquet"}
    ]


def test_card_names_no_package_that_an_index_would_have_to_hold(benchmark_release: Path) -> None:
    """Whoever registers the name there would have readers run their code."""
    texts = [
        p.read_text(encoding="utf-8")
        for p in benchmark_release.glob("*.*")
        if p.is_file() and p.suffix in {".md", ".json", ".cff"}
    ]

    assert any("pip install ." in text for text in texts)
    assert not any("pip install raymark" in text for text in texts)


def test_card_shows_the_board_when_there_is_one(benchmark_release: Path) -> None:
    text = (benchmark_release / "README.md").read_text(encoding="utf-8")
    section = text.split("## Baselines")[1].split("\n## ")[0]
    assert "| WKNN" in section
    assert "P90 [m]" in section


def test_card_page_holds_the_map_of_every_scene_itself(benchmark_release: Path) -> None:
    page = card_page(benchmark_release)

    assert page.count('src="data:image/png;base64,') == page.count("<img ") == 2


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (b"no front matter", "README.md does not begin with lines of YAML between two ---"),
        (b"---\na: [\n---\n", "README.md does not begin with lines of YAML between two ---"),
        (b"---\n\xff\n---\n", "README.md"),
    ],
)
def test_card_page_is_refused_when_the_card_is_damaged(
    benchmark_release: Path, tmp_path: Path, card: bytes, message: str
) -> None:
    (tmp_path / "release.json").write_bytes((benchmark_release / "release.json").read_bytes())
    (tmp_path / "README.md").write_bytes(card)

    with pytest.raises(ConfigError, match=message):
        card_page(tmp_path)


def test_card_page_holds_no_raw_html_when_a_title_tries(
    benchmark_release: Path, tmp_path: Path
) -> None:
    attack = "<script>alert(1)</script>"
    card = all_documents(benchmark_release, title=attack, description=attack)["README.md"]
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "README.md").write_text(card, encoding="utf-8")
    record = json.loads((benchmark_release / "release.json").read_bytes())
    record["about"]["title"] = attack
    (folder / "release.json").write_text(json.dumps(record | {"seal": seal_of(record)}), "utf-8")

    page = card_page(folder)

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<table>" in page


def test_croissant_is_valid_when_checked_by_its_own_library(benchmark_release: Path) -> None:
    assert validate_croissant(benchmark_release) == []
    assert check_records(benchmark_release) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlcroissant's libraries
def test_croissant_records_are_the_rows_of_the_index_when_read(
    benchmark_release: Path, benchmark_dataset: Dataset
) -> None:
    dataset = mlcroissant.Dataset(jsonld=benchmark_release / "croissant.json")
    found = pd.DataFrame(list(dataset.records("links")))
    index = benchmark_dataset.index

    assert len(found) == len(index)
    assert found["links/x_m"].to_numpy() == pytest.approx(index["x_m"].to_numpy())
    assert [name.decode() for name in found["links/scene"]] == index["scene"].tolist()


def test_croissant_has_the_fields_that_reviewers_ask_for_when_written(
    benchmark_release: Path,
) -> None:
    found = json.loads((benchmark_release / "croissant.json").read_text(encoding="utf-8"))

    needed = {"dataLimitations", "dataBiases", "personalSensitiveInformation", "dataUseCases"}
    needed |= {"dataSocialImpact", "hasSyntheticData"}
    assert {f"rai:{name}" for name in needed} <= set(found)
    assert {"prov:wasDerivedFrom", "prov:wasGeneratedBy"} <= set(found)
    assert found["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    hashes = read_release(benchmark_release).files
    for item in found["distribution"]:
        assert item["sha256"] == hashes[item["contentUrl"]].sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [('"cr:FileObject"', '"cr:FileObjekt"'), ('"links/x_m"', '"links/y_m"'), ("{", "")],
)
def test_validate_croissant_names_the_file_when_it_is_damaged(
    benchmark_release: Path, tmp_path: Path, old: str, new: str
) -> None:
    text = (benchmark_release / "croissant.json").read_text(encoding="utf-8")
    (tmp_path / "croissant.json").write_text(text.replace(old, new, 1), encoding="utf-8")

    faults = validate_croissant(tmp_path)

    assert faults
    assert all(fault.startswith(f"{tmp_path / 'croissant.json'}: ") for fault in faults)


@pytest.mark.parametrize(
    "change",
    [
        {"@context": "http://127.0.0.1:9/context.json"},
        {"@context": ["http://127.0.0.1:9/context.json"]},
        {"@context": {"@vocab": "https://schema.org/", "from": "sc:contentUrl"}},
        {"distribution": [{"@type": "cr:FileObject", "contentUrl": "http://127.0.0.1:9/x"}]},
        {"distribution": [{"@type": "cr:FileObject", "sc:contentUrl": "//127.0.0.1/x"}]},
        {"distribution": [{"@type": "cr:FileObject", "contentUrl": "../../x.parquet"}]},
        {"distribution": [{"@type": "cr:FileObject", "contentUrl": ["http://127.0.0.1:9/x"]}]},
    ],
)
def test_nothing_is_fetched_when_a_description_names_what_lies_elsewhere(
    benchmark_release: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
) -> None:
    text = (benchmark_release / "croissant.json").read_text(encoding="utf-8")
    edited = json.dumps(json.loads(text) | change)
    (tmp_path / "croissant.json").write_text(edited, encoding="utf-8")
    opened: list[object] = []
    monkeypatch.setattr(mlcroissant, "Dataset", lambda **named: opened.append(named))

    faults = [*validate_croissant(tmp_path), *check_records(tmp_path)]

    assert len(faults) == 2
    assert all("which is no file of the release: nothing is fetched" in x for x in faults)
    assert opened == []


def test_check_records_names_the_records_when_a_column_is_another(
    benchmark_release: Path, tmp_path: Path
) -> None:
    text = (benchmark_release / "croissant.json").read_text(encoding="utf-8")
    shutil.copy(benchmark_release / "index.parquet", tmp_path)
    shutil.copytree(benchmark_release / "splits", tmp_path / "splits")
    edited = text.replace('"column": "x_m"', '"column": "y_m"')
    (tmp_path / "croissant.json").write_text(edited, encoding="utf-8")

    (fault,) = check_records(tmp_path)
    place = f"{tmp_path / 'croissant.json'}: the records 'links'"
    assert fault == f"{place} differ from index.parquet in column x_m"


@pytest.mark.parametrize("text", ["", "[]", "3", '{"a": 1}', '{"@type": "sc:Dataset"}'])
def test_croissant_checks_name_the_file_when_it_is_no_description(
    benchmark_release: Path, tmp_path: Path, text: str
) -> None:
    shutil.copy(benchmark_release / "index.parquet", tmp_path)
    shutil.copytree(benchmark_release / "splits", tmp_path / "splits")
    path = tmp_path / "croissant.json"
    path.write_text(text, encoding="utf-8")

    for faults in (validate_croissant(tmp_path), check_records(tmp_path)):
        assert faults
        assert all(fault.startswith(f"{path}: ") for fault in faults)


def test_check_records_names_the_files_when_no_records_describe_them(
    benchmark_release: Path, tmp_path: Path
) -> None:
    value = json.loads((benchmark_release / "croissant.json").read_text(encoding="utf-8"))
    value["recordSet"] = []
    shutil.copy(benchmark_release / "index.parquet", tmp_path)
    shutil.copytree(benchmark_release / "splits", tmp_path / "splits")
    (tmp_path / "croissant.json").write_text(json.dumps(value), encoding="utf-8")

    faults = check_records(tmp_path)

    assert f"{tmp_path / 'croissant.json'}: no records describe index.parquet" in faults
    assert len(faults) == 1 + len(list((benchmark_release / "splits").glob("*.parquet")))


@pytest.mark.parametrize("term", ["rai:dataBiases", "url"])
def test_validate_croissant_names_what_is_required_or_asked_for_when_it_is_missing(
    term: str, benchmark_release: Path, tmp_path: Path
) -> None:
    value = json.loads((benchmark_release / "croissant.json").read_text(encoding="utf-8"))
    del value[term]
    (tmp_path / "croissant.json").write_text(json.dumps(value), encoding="utf-8")

    expected = f"{tmp_path / 'croissant.json'}: {term} is missing"
    assert validate_croissant(tmp_path) == [expected]


@pytest.mark.parametrize(
    ("about", "url"),
    [
        (
            {"url": "https://example.org/data", "doi": "10.5281/zenodo.1"},
            "https://example.org/data",
        ),
        ({"doi": "10.5281/zenodo.1"}, "https://doi.org/10.5281/zenodo.1"),
        ({}, "urn:sha256:"),
    ],
    ids=["page", "doi", "neither"],
)
def test_croissant_has_all_that_its_specification_requires_when_written(
    about: dict[str, str], url: str, benchmark_release: Path
) -> None:
    found = json.loads(all_documents(benchmark_release, **about)["croissant.json"])

    # The table "Required" of the specification of 1.1, with what it makes of `distribution`.
    required = {"@context", "@type", "conformsTo", "description", "license", "name", "url"}
    required |= {"creator", "datePublished", "distribution"}
    assert all(found.get(term) for term in required)
    hashed = read_release(benchmark_release).content_hash
    assert found["url"] == (url + hashed if url.startswith("urn:") else url)


@pytest.mark.slow
@pytest.mark.parametrize(
    "language",
    [
        "h5py",
        "pandas",
        pytest.param("datasets", marks=pytest.mark.needs("datasets")),
        "raymark.loaders",
        "raymark",
    ],
)
def test_snippets_of_the_card_run_when_pasted_in_the_folder(
    benchmark_release: Path, tmp_path: Path, language: str
) -> None:
    card = (benchmark_release / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    (code,) = [
        text
        for text in snippets
        if re.search(rf"^(from|import) {language}\b ?(as pd|import|$)", text, re.MULTILINE)
    ]

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=benchmark_release,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr


def test_citation_has_what_the_format_requires_when_parsed(benchmark_release: Path) -> None:
    found = yaml.safe_load((benchmark_release / "CITATION.cff").read_text(encoding="utf-8"))
    assert found["cff-version"] == "1.2.0"
    assert found["type"] == "dataset"
    assert found["authors"] == [{"family-names": "Doe", "given-names": "Jane"}]
    assert found["version"] == "1.0.0"


def test_zenodo_metadata_name_persons_and_organisations_when_both_publish(
    benchmark_release: Path,
) -> None:
    authors = (
        Author(name="Doe, Jane", affiliation="A", orcid="0000-0002-1825-0097"),
        Author(name="A lab"),
    )
    found = json.loads(all_documents(benchmark_release, authors=authors)[".zenodo.json"])
    assert found["creators"] == [
        {"name": "Doe, Jane", "affiliation": "A", "orcid": "0000-0002-1825-0097"},
        {"name": "A lab"},
    ]
    assert found["license"] == "cc-by-4.0"


def test_licences_name_every_scene_when_written(benchmark_release: Path) -> None:
    text = (benchmark_release / "LICENSES.md").read_text(encoding="utf-8")
    for site in open_dataset(benchmark_release).manifest.sites:
        assert f"| geometry of scene `{site.scene}` | [{site.licence}]" in text
        assert f"| its buildings, `buildings/{site.scene}.h5` | [{site.licence}]" in text
    assert "OpenStreetMap" not in text  # no scene of this dataset is made from it


def test_build_release_asks_for_a_licence_when_paths_were_imported(
    small_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    scenario = tmp_path / "scenario"
    export_deepmimo(small_dataset, scenario, scene="street_canyon", band="6GHz")
    import_deepmimo(scenario, tmp_path / "imported")
    settings = dataclasses.replace(release_settings, materialized=(), benchmark=None)

    with pytest.raises(ConfigError, match="under which licence they may be published"):
        build_release(tmp_path / "imported", tmp_path / "release", settings)

    about = About(title="T", authors=(Author(name="X"),), licence="CC0-1.0")
    named = dataclasses.replace(settings, about=about)
    assert build_release(tmp_path / "imported", tmp_path / "release", named).licence == "CC0-1.0"
    said = " ".join((tmp_path / "release" / "DATASHEET.md").read_text(encoding="utf-8").split())
    assert "The paths were made by another program (DeepMIMO" in said
    assert "UE positions are those of the imported simulation" in said
    for ours in ("above ground", "P.2040", "drew all UEs", "Sionna RT"):
        assert ours not in said
