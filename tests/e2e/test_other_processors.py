"""A dataset is the same on a processor with other registers."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raymark.dataset import Dataset, open_dataset

CHILD = """
import ctypes, json, sys
from pathlib import Path

campaign, folder, num_lanes = sys.argv[1:]

from raymark.generator.tracing.backend import dr, mi

library = ctypes.CDLL(str(Path(dr.__file__).with_name("libdrjit-core.so")))
# void jit_llvm_set_target(const char *cpu, const char *features, uint32_t vector_width)
set_target = library._Z19jit_llvm_set_targetPKcS0_j
set_target.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
set_target(b"x86-64-v3", b"+fma", int(num_lanes))
numbers = dr.linspace(mi.Float, 0.5, 8.0, 1000)  # enough of them: estimates agree on some
print(dr.rsqrt(numbers).numpy().tobytes().hex())

from raymark.config import validate
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate
from raymark.generator.plan import make_plan

plan = make_plan(validate(Campaign, json.loads(campaign), where="child"))
generate(plan, Path(folder), shard_size=50)
"""
"""Generates with registers of so many numbers, and prints Dr.Jit's own reciprocal roots."""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="registers of x86-64"
)
def test_content_is_the_same_when_registers_are_shorter(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    printed = [
        subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(small_campaign), tmp_path / lanes, lanes],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for lanes in ("4", "8")
    ]

    assert printed[0] != printed[1]  # what the ray tracer would use by itself
    for lanes in ("4", "8"):
        manifest = open_dataset(tmp_path / lanes).manifest
        assert manifest.arrays == small_dataset.manifest.arrays
        assert manifest.content_hash == small_dataset.manifest.content_hash
