"""What an install without extras does, and what it says of the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

from raymark.errors import ConfigError
from raymark.extras import EXTRA_OF, explain_missing, import_extra

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "small_install.py"


def test_dataset_is_read_and_scored_when_no_ray_tracer_can_be_imported() -> None:
    child = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), "--hide"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert child.returncode == 0, child.stderr
    assert "reads, verifies, loads, scores and draws a board" in child.stdout


def test_proof_fails_when_the_ray_tracer_is_there() -> None:
    """A canary: the script above sees what is installed."""
    child = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False, timeout=300
    )

    assert child.returncode == 1
    assert "this is no install without extras: there is sionna" in child.stderr


@pytest.mark.parametrize("package", sorted(EXTRA_OF))
def test_sentence_names_the_extra_when_a_package_is_missing(package: str) -> None:
    error = ModuleNotFoundError(name=f"{package}.part")

    expected = f'{package} is not installed; `pip install "raymark[{EXTRA_OF[package]}]"` adds it'
    assert explain_missing(error) == expected


def test_sentence_names_the_extra_that_is_meant_when_several_bring_a_package() -> None:
    with pytest.raises(ConfigError, match=r"^A certificate .*raymark\[cluster\]\"` adds it$"):
        import_extra("no_package_of_this_name", name="A certificate", extra="cluster")


def test_sentence_is_none_when_no_extra_brings_the_module() -> None:
    assert explain_missing(ModuleNotFoundError(name="raymark.nothing")) is None
    assert explain_missing(ModuleNotFoundError("without a name")) is None
