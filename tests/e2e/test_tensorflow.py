"""TensorFlow is an extra: where it is installed, it lives beside the ray tracer."""

import importlib.util
import subprocess
import sys

import pytest

BOTH = """
import tensorflow as tf
import numpy as np
from raymark.generator.tracing.backend import mi
values = np.arange(4, dtype="f4")
assert (np.array(mi.Float(values) * 2) == tf.constant(values).numpy() * 2).all()
print("both work")
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="the extra 'tensorflow' is not installed",
)
def test_both_work_in_one_process_when_tensorflow_is_installed() -> None:
    result = subprocess.run(
        [sys.executable, "-c", BOTH], check=False, capture_output=True, text=True
    )

    assert result.returncode == 0, result.stderr[-2000:]
    assert "both work" in result.stdout
