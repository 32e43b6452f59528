"""TensorFlow is an extra: where it is installed, it lives beside the ray tracer."""

import subprocess
import sys

import pytest

TRACER_FIRST = """
from raymark.generator.tracing.backend import mi
import tensorflow as tf
import numpy as np
values = np.arange(4, dtype="f4")
assert (np.array(mi.Float(values) * 2 + 1) == tf.constant(values).numpy() * 2 + 1).all()
print("both work")
"""

TENSORFLOW_FIRST = """
import tensorflow
from raymark.errors import RuntimeUnavailableError
try:
    import raymark.generator.tracing.backend
except RuntimeUnavailableError as error:
    print(error)
"""

READER_FIRST = """
import raymark.dataset, raymark.radio.fingerprints
import tensorflow as tf
import torch
assert float(tf.reduce_sum(tf.ones(3))) == float(torch.ones(3).sum())
print("both work")
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("tensorflow"),
]


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize("code", [TRACER_FIRST, READER_FIRST])
def test_both_work_in_one_process_when_tensorflow_comes_second(code: str) -> None:
    assert "both work" in run(code)


def test_one_sentence_instead_of_an_abort_when_tensorflow_comes_first() -> None:
    assert "TensorFlow was imported before the ray tracer" in run(TENSORFLOW_FIRST)
