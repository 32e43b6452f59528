"""The command line as a user meets it: right answers, and one clear sentence for wrong input."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import h5py
import pytest
import yaml
from command_line import COMMAND, raymark

from raymark.cli.console import waiting
from raymark.cli.quickstart import TRACKS
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import write_manifest
from raymark.errors import DatasetError
from raymark.models import default_model_names, get_model
from raymark.plots.inspection import inspect_dataset

FINISHED, BAD_INPUT, INTERRUPTED = 0, 2, 130


def write_campaign(path: Path, campaign: dict[str, Any], **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**campaign, **changes}), encoding="utf-8")
    return path


def test_commands_work_in_a_row_when_a_campaign_is_made(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path / "campaign.yaml", small_campaign)
    out = tmp_path / "data"

    planned = raymark("plan", campaign)
    made = raymark("generate", campaign, "--out", out)
    again = raymark("generate", campaign, "--out", out)
    shown = raymark("status", out)
    verified = raymark("verify", out)
    options = ["--scene", "street_canyon", "--band", "28GHz", "--out", tmp_path / "f.h5"]
    written = raymark("fingerprints", out, *options)

    for result in (planned, made, again, shown, verified, written):
        assert result.returncode == FINISHED, result.stderr
    assert "links" in planned.stdout
    assert "complete" in shown.stdout
    assert open_dataset(out).manifest.content_hash == small_dataset.manifest.content_hash
    with h5py.File(tmp_path / "f.h5") as file:
        assert file["csi"].shape == (50, 64, 64)


@pytest.mark.slow
def test_generate_adds_a_band_when_a_dataset_is_extended(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "extended"

    made = raymark("generate", "--extend", small_dataset.folder, "--bands", "39GHz", "--out", out)

    assert made.returncode == FINISHED, made.stderr
    assert open_dataset(out).bands == (*small_dataset.bands, "39GHz")
    assert "39GHz" in raymark("inspect", out, "--out", tmp_path / "figures").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--extend", "DATA"], "--extend DIR needs --bands, and no campaign"),
        (["mini", "--extend", "DATA", "--bands", "39GHz"], "needs --bands, and no campaign"),
        (["mini"], "give a CAMPAIGN and --out DIR, --extend DIR and --bands, or"),
        (["mini", "--out", "x", "--bands", "39GHz"], "give a CAMPAIGN and --out DIR, --extend"),
        (["--extend", "DATA", "--bands", "28 ghz"], "has band '28GHz' already; leave it out"),
    ],
)
def test_generate_says_what_to_give_when_options_do_not_fit(
    arguments: list[str], message: str, small_dataset: Dataset
) -> None:
    result = raymark(
        "generate", *[str(small_dataset.folder) if x == "DATA" else x for x in arguments]
    )

    assert result.returncode == BAD_INPUT
    assert message in " ".join(result.stderr.split())


@pytest.mark.slow
def test_refraction_and_scattering_go_through_sionnas_search_when_asked_for(
    small_campaign: dict[str, Any], tmp_path: Path
) -> None:
    tracer = {
        "max_depth": 2,
        "refraction": True,
        "diffuse_reflection": True,
        "solver_rays": 20_000,
        "solver_block_size": 25,
    }
    campaign = write_campaign(tmp_path / "campaign.yaml", small_campaign, tracer=tracer)

    planned = raymark("plan", campaign)
    hashes = []
    for name, shard_size in (("one", 25), ("two", 50)):
        made = raymark("generate", campaign, "--out", tmp_path / name, "--shard-size", shard_size)
        assert made.returncode == FINISHED, made.stderr
        hashes.append(open_dataset(tmp_path / name).manifest.content_hash)
    refused = raymark("generate", campaign, "--out", tmp_path / "three", "--shard-size", 30)

    assert "Sionna's own search" in planned.stdout
    manifest = open_dataset(tmp_path / "one").manifest
    assert any("Sionna's own search" in note for note in manifest.notes)
    assert hashes[0] == hashes[1]
    assert refused.returncode == BAD_INPUT
    assert "multiple of tracer.solver_block_size (25 UEs)" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plan", "smal"], "unknown preset 'smal'; did you mean 'small'?"),
        (["plan", "missing.yaml"], "campaign file missing.yaml does not exist"),
        (["scenes", "show", "munch"], "unknown scene 'munch'; did you mean 'munich'?"),
        (["presets", "show", "minni"], "unknown preset 'minni'; did you mean 'mini'?"),
        (["verify", "nowhere"], "nowhere holds no dataset"),
        (["status", "nowhere"], "nowhere holds no dataset"),
        (["scenes", "preview", "etoile", "--out", "x.bmp"], "must end in .png, .pdf, .svg"),
        (["scenes", "add-site", "etoile", "--out", "x.bmp"], "must end in .png, .pdf, .svg"),
    ],
)
def test_one_sentence_and_exit_code_2_when_input_is_wrong(
    arguments: list[str], sentence: str
) -> None:
    result = raymark(*arguments)

    assert result.returncode == BAD_INPUT
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bandz": []}, "unknown key at {file}: bandz; did you mean 'bands'?"),
        ({"bands": ["28Gz"]}, "unknown band '28Gz'; did you mean '28GHz'?"),
        ({"bands": [28]}, "band '28' has no unit: write '28GHz', or its carrier in Hz"),
        (
            {"bands": [{"name": "70GHz", "carrier_hz": 70e9}]},
            "material 'brick' is defined for 1-40 GHz and 110-330 GHz, got 70 GHz",
        ),
        (
            {"sampling": {"kind": "uniform", "num_ues": -1}},
            "greater than or equal to 1, got -1 at {file}: sampling.num_ues",
        ),
        (
            {"bands": [{"name": "a", "carrier_hz": 6e9, "bandwidth_hz": 4e8}]},
            "unambiguous up to 48 m",
        ),
        (
            {"front_end": {"panel": {"element_pattern": "iso"}}},
            "front/back ambiguity",
        ),
    ],
)
def test_campaign_is_refused_with_its_place_when_a_value_is_wrong(
    small_campaign: dict[str, Any], tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    campaign = write_campaign(tmp_path / "campaign.yaml", small_campaign, **change)

    result = raymark("plan", campaign)

    assert result.returncode == BAD_INPUT
    assert sentence.format(file=campaign) in " ".join(result.stderr.split())


@pytest.mark.slow
def test_generate_goes_on_with_the_same_content_when_interrupted_by_ctrl_c(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path / "campaign.yaml", small_campaign)
    out = tmp_path / "data"
    arguments = ["generate", str(campaign), "--out", str(out), "--shard-size", "2"]

    child = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    while not (out / "journal.jsonl").exists() and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    messages = child.communicate(timeout=120)[1]
    state = raymark("status", out).stdout
    finished = raymark(*arguments)

    assert child.returncode == INTERRUPTED
    assert "nothing is lost: run the same command" in " ".join(messages.split())
    assert "Traceback" not in messages
    assert "incomplete" in state
    assert finished.returncode == FINISHED
    assert open_dataset(out).manifest.content_hash == small_dataset.manifest.content_hash


def test_doctor_reports_backend_and_scenes_when_all_is_well() -> None:
    result = raymark("doctor")

    assert result.returncode == FINISHED, result.stdout
    assert "a test kernel ran" in result.stdout
    assert "munich" in result.stdout


def test_another_campaigns_folder_is_left_alone_when_it_is_named(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path / "campaign.yaml", small_campaign, seed=99)

    result = raymark("generate", campaign, "--out", small_dataset.folder)

    assert result.returncode == BAD_INPUT
    assert "holds another campaign ('small-canyon'" in " ".join(result.stderr.split())
    assert raymark("verify", small_dataset.folder).returncode == FINISHED


def test_used_folder_is_refused_before_scenes_are_loaded(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    missing = {"scenes": ["a_scene_that_nobody_has"]}
    campaign = write_campaign(tmp_path / "campaign.yaml", small_campaign, **missing)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")

    own = raymark("generate", campaign, "--out", tmp_path / "own")
    other = raymark("generate", campaign, "--out", small_dataset.folder)

    assert "own is not empty and holds no dataset" in " ".join(own.stderr.split())
    both = "holds another campaign ('small-canyon' version 1; this is 'small-canyon' version 1)"
    assert both in " ".join(other.stderr.split())
    assert own.returncode == other.returncode == BAD_INPUT
    assert (tmp_path / "own" / "notes.txt").read_text() == "mine"


def test_inspect_draws_nothing_when_its_folder_cannot_be_written(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    drawn: list[Path] = []

    with pytest.raises(DatasetError, match=r"file is a file; give the name of a folder"):
        inspect_dataset(small_dataset, tmp_path / "file", progress=drawn.append)

    assert drawn == []
    assert (tmp_path / "file").read_text() == "mine"


def test_waiting_is_told_in_a_line_when_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("finding footprints"):
        pass

    assert capsys.readouterr() == ("", "finding footprints ...\n")


def test_verify_counts_the_files_that_are_there_when_some_were_left_out(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(small_dataset.folder, bare, ignore=shutil.ignore_patterns("detail"))
    write_manifest(bare, small_dataset.manifest.model_copy(update={"left_out": ("detail",)}))

    whole, without = raymark("verify", small_dataset.folder), raymark("verify", bare)

    num_files = sum(path.suffix in {".h5", ".parquet"} for path in bare.rglob("*"))
    num_files += len(small_dataset.manifest.documents)
    assert f": {num_files} files checked" in " ".join(without.stdout.split())
    num_left_out = len(small_dataset.manifest.shards)
    assert f": {num_files + num_left_out} files checked" in " ".join(whole.stdout.split())


def test_help_shows_units_in_brackets() -> None:
    shown = raymark("scenes", "add-site", "--help")

    assert "Radius of the sector [m]" in shown.stdout


@pytest.mark.slow
def test_quickstart_ends_with_a_board_of_the_cheap_models_and_its_run_goes_on_to_another_track(
    quickstart_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out [red]"
    shutil.copytree(quickstart_folder, folder)
    shown = raymark("quickstart", "--out", str(folder))  # which finds all cells done

    assert shown.returncode == FINISHED, shown.stderr
    assert f"Dataset: {folder / 'dataset'}\n" in shown.stdout
    assert "(pip install 'raymark[release]')" in shown.stdout
    assert "raymark bench new-model my_model" in shown.stdout
    board = (folder / "board" / "board.md").read_text(encoding="utf-8")
    for name in default_model_names():
        assert get_model(name).info.title in board
    assert (folder / "board" / "index.html").is_file()

    own = ["--suite", "mini", "--data", str(folder / "dataset"), "--any-data"]
    own += ["--tracks", ",".join([*TRACKS, "unseen-track"]), "--scenes", "munich"]
    models = ["--bands", "6GHz", "--models", "train_centroid", "--out", str(folder / "runs")]
    more = raymark("bench", "run", *own, *models)
    assert more.returncode == FINISHED, more.stderr
    assert f"1 cell run, {len(TRACKS)} kept" in more.stdout
