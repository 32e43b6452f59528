"""A release of `mini`, as its publisher makes it and as its readers use it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command_line import raymark as command_line

import raymark
from raymark.loaders import load_index, load_numpy, open_index, torch_loader

FINISHED, BAD_INPUT = 0, 2
LINKS = {"scene": "munich", "band": "6GHz"}


def succeed(*arguments: object) -> str:
    done = command_line(*arguments)
    assert done.returncode == FINISHED, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mini(quickstart_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "mini"
    shutil.copytree(quickstart_folder / "dataset", folder)
    return folder


def about_of(mini: Path) -> Path:
    """Write who publishes: a processor that rounds otherwise makes another than the shipped one."""
    path = mini.with_name("about.yaml")
    path.write_text("title: Three cities\nauthors: [{name: The testers}]\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def release(mini: Path, quickstart_folder: Path) -> Path:
    folder = mini.with_name("release")
    arguments = ["--version", "1.0.0", "--materialize", "munich:6GHz"]
    arguments += ["--runs", quickstart_folder / "runs", "--about", about_of(mini)]
    succeed("release", "build", mini, "--out", folder, *arguments)
    return folder


@pytest.mark.slow
def test_release_of_mini_is_verified_when_built(release: Path) -> None:
    succeed("release", "verify", release, "--level", "full")
    sums = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"],  # noqa: S607 - the one on the path
        cwd=release,
        check=False,
        capture_output=True,
    )
    assert sums.returncode == 0, sums.stderr
    size = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
    assert size < 50e6


@pytest.mark.slow
@pytest.mark.needs("datasets")
def test_release_of_mini_gives_every_loader_the_same_links_when_read(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = raymark.open_dataset(release).select(**LINKS)
    arrays = load_numpy(release, **LINKS)
    (batch,) = torch_loader(release, batch_size=200, shuffle=False, **LINKS)
    index = load_index(release)
    rows = index[(index["scene"] == "munich")]
    table = open_index(release).to_table(columns=["ue_index", "los"]).to_pandas()

    np.testing.assert_array_equal(arrays["position_m"], selection.position_m)
    np.testing.assert_array_equal(rows[["x_m", "y_m", "z_m"]], selection.position_m)
    np.testing.assert_array_equal(rows["los"], batch["los"].numpy())
    np.testing.assert_array_equal(table["los"], index["los"])
    np.testing.assert_allclose(batch["csi"].numpy(), arrays["csi"], rtol=0, atol=1e-9)

    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hosted = datasets.load_dataset(str(release), "munich_6GHz", cache_dir=str(tmp_path))["train"]
    found = hosted.flatten().with_format("numpy")[:]
    np.testing.assert_array_equal(found["ue.position_m"], selection.position_m)
    np.testing.assert_array_equal(found["link.los"], selection.los)


@pytest.mark.slow
def test_card_of_mini_is_a_page_when_asked_for(release: Path, tmp_path: Path) -> None:
    succeed("release", "card", release, "--out", tmp_path / "card.html")
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<h1>Three cities 1.0.0</h1>" in page
    assert "OpenStreetMap" in page
    assert "http-equiv" not in page
    again = command_line("release", "card", release, "--out", tmp_path / "card.html")
    assert again.returncode == BAD_INPUT
    assert "--overwrite" in again.stderr


@pytest.mark.slow
def test_subset_of_mini_becomes_a_release_of_its_own_when_cut(
    mini: Path, release: Path, tmp_path: Path
) -> None:
    cut, about = tmp_path / "cut", tmp_path / "about.yaml"
    about.write_text("title: Munich\nauthors: [{name: me}]\n", encoding="utf-8")
    succeed("release", "subset", mini, "--scenes", "munich", "--ues", "50", "--out", cut)
    arguments = ["--version", "0.1.0", "--about", about, "--no-detail", "--out", tmp_path / "rel"]
    succeed("release", "build", cut, *arguments)

    shown = succeed("release", "diff", release, tmp_path / "rel")

    assert "1.0.0 -> 0.1.0" in shown
    assert "etoile/bs0" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "{mini}", "--version", "1", "--out", "{new}"], "a version has three numbers"),
        (["build", "{new}", "--version", "1.0.0", "--out", "{new}"], "holds no dataset"),
        (
            ["build", "{mini}", "--version", "1.0.0", "--out", "{new}", "--date", "today"],
            "a date is written YYYY-MM-DD",
        ),
        (
            ["build", "{mini}", "--version", "1.0.0", "--out", "{new}", "--materialize", "munch:6"],
            "has no scene 'munch'; did you mean 'munich'?",
        ),
        (["verify", "{mini}"], "holds no release"),
        (["diff", "{mini}", "{mini}"], "holds no release"),
        (["subset", "{mini}", "--out", "{new}"], "nothing of"),
        (["subset", "{mini}", "--bands", "29GHz", "--out", "{new}"], "did you mean '28GHz'?"),
    ],
)
def test_release_commands_say_what_is_wrong_when_the_input_is(
    mini: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    about = ["--about", str(about_of(mini))] if arguments[0] == "build" else []
    filled = [text.format(mini=mini, new=tmp_path / "new") for text in arguments] + about
    done = command_line("release", *filled)
    assert done.returncode == BAD_INPUT
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()
