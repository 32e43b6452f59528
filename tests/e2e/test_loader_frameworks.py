"""The loaders of optional frameworks, each in a process of its own, against the numpy arrays."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raymark.dataset import Dataset
from raymark.dataset.materialization import materialize
from raymark.loaders import FIELDS, load_numpy

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "loaders.md"
CANYON = {"scene": "street_canyon", "band": "6GHz"}
SITES = {"scene": "two_sites", "band": "6GHz"}

FLOAT32_REL = 1e-5
"""The same sums in float32 in other company; relative to the largest."""

TENSORFLOW = """
import json, sys
import numpy as np
from raymark.loaders import tf_dataset, torch_loader

folder, out, choice = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
data = tf_dataset(folder, batch_size=4, fresh_noise=True, **choice)
loader = torch_loader(folder, batch_size=4, fresh_noise=True, **choice)
arrays = {}
for epoch in range(2):
    for side, batches in {"tf": data.as_numpy_iterator(), "torch": loader}.items():
        for i, batch in enumerate(batches):
            for name, values in batch.items():
                arrays[f"{side}/{epoch}/{i}/{name}"] = np.asarray(values)
stored = tf_dataset(folder, batch_size=5, shuffle=False, **choice)
for i, batch in enumerate(stored.as_numpy_iterator()):
    arrays |= {f"stored/{i}/{name}": values for name, values in batch.items()}
arrays["lengths"] = np.array([len(data), len(stored)])
np.savez(out, **arrays)
try:
    tf_dataset(folder, batch_size=0, **choice)
except Exception as error:
    print(type(error).__name__, error)
"""

KERAS = """
import keras
from raymark.loaders import tf_dataset

keras.utils.set_random_seed(0)
{lines}
model = keras.Sequential([keras.layers.Rescaling(0.01), keras.layers.Dense(3)])
model.compile(keras.optimizers.Adam(0.03), "mse")
print(len(model.fit(inputs, epochs=2, verbose=0).history["loss"]))
"""

HUGGING_FACE = """
import json, sys
import numpy as np
from raymark.loaders import huggingface_dataset

folder, out, choice = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
data = huggingface_dataset(folder, **choice)
assert data[3]["csi_real"].dtype == np.float32
types = {"site_index": "int16", "ue_index": "int64", "los": "int8", "has_signal": "bool"}
assert {name: data.features[name].dtype for name in types} == types
assert data.select([2, 1]).filter(lambda row: True)[0]["ue_index"] == data[2]["ue_index"]
np.savez(out, **data[:])
try:
    huggingface_dataset(folder, limit_bytes=1000, **choice)
except Exception as error:
    print(type(error).__name__, error)
"""

RELEASE = """
import sys
import datasets
import numpy as np

folder, out, cache = sys.argv[1:]
data = datasets.load_dataset(folder, "canyon_6GHz", cache_dir=cache)
assert list(data) == ["train"]
np.savez(out, **data["train"].flatten().with_format("numpy")[:])
other = datasets.load_dataset(folder, "canyon_28GHz", split="train", cache_dir=cache)
print(len(other), other.features["csi"]["real"].shape)
"""


def run(code: str, *arguments: Any, cwd: Path | None = None) -> str:
    """Run code in a fresh process, offline; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env={
            **os.environ,
            "HF_DATASETS_OFFLINE": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(cwd or Path.cwd()),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, other in expected.items():
        one = found[name]
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        scale = np.abs(other).max() if other.dtype.kind in "fc" else 0
        if name == "aoa_profile":  # the least of a profile is a small difference
            scale *= 10
        assert (np.abs(one.astype("c16") - other) <= FLOAT32_REL * scale).all(), name


def parts_of(csi: np.ndarray) -> dict[str, np.ndarray]:
    return {"csi_real": csi.real, "csi_imag": csi.imag}


def widened(arrays: dict[str, Any]) -> dict[str, Any]:
    """As Hugging Face shows numpy arrays: integers have 64 bits, whatever the column has."""
    return {n: v.astype("i8") if v.dtype.kind == "i" else v for n, v in arrays.items()}


@pytest.mark.needs("tensorflow")
def test_tensorflow_gives_the_batches_of_torch_when_the_seed_is_the_same(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out.npz"
    printed = run(
        TENSORFLOW, two_site_dataset.folder, out, json.dumps({**SITES, "seed": 3}), cwd=tmp_path
    )
    expected = load_numpy(two_site_dataset.folder, seed=3, **SITES)

    with np.load(out) as stored:
        arrays = dict(stored)
    assert arrays.pop("lengths").tolist() == [4, 3]
    for key in [key for key in arrays if key.startswith("torch/")]:
        np.testing.assert_array_equal(arrays["tf" + key.removeprefix("torch")], arrays[key])
    assert sum(key.startswith("tf/") for key in arrays) == 2 * 4 * len(FIELDS)
    assert not np.array_equal(arrays["tf/0/0/csi"], arrays["tf/1/0/csi"])
    in_order = {
        name: np.concatenate([arrays[f"stored/{i}/{name}"] for i in range(3)]) for name in FIELDS
    }
    assert_close(in_order, expected)
    assert printed == "ConfigError batch_size must be at least 1, got 0"


@pytest.mark.needs("tensorflow")
def test_keras_learns_from_the_lines_of_the_page_when_run(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = [block for block in blocks if "model.fit" in block]
    (tmp_path / "small").symlink_to(small_dataset.folder)

    printed = run(KERAS.format(lines=block.replace("munich", "street_canyon")), cwd=tmp_path)

    assert printed == "2"


@pytest.mark.needs("datasets")
@pytest.mark.parametrize("kind", ["measured", "oracle"])
def test_hugging_face_gives_the_arrays_when_asked_for_a_table(
    two_site_dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    choice = {**SITES, "kind": kind}
    printed = run(
        HUGGING_FACE,
        two_site_dataset.folder,
        tmp_path / "out.npz",
        json.dumps(choice),
        cwd=tmp_path,
    )
    expected = load_numpy(two_site_dataset.folder, **choice)

    with np.load(tmp_path / "out.npz") as stored:
        assert_close(dict(stored), widened(expected | parts_of(expected.pop("csi"))))
    assert re.match(r"ConfigError 14 links take 0\.00046\d GB", printed)


@pytest.mark.needs("datasets")
def test_hugging_face_reads_a_release_when_its_readme_names_the_files(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    """Without our code: the front matter and the HDF5 files are all there is."""
    bands = ("6GHz", "28GHz")
    for band in bands:
        path = tmp_path / "release" / "fingerprints" / f"canyon_{band}.h5"
        materialize(small_dataset, path, scene="street_canyon", band=band)
    lines = [
        f"- config_name: canyon_{band}\n"
        f"  data_files: [{{split: train, path: fingerprints/canyon_{band}.h5}}]\n"
        for band in bands
    ]
    (tmp_path / "release" / "README.md").write_text(
        f"---\nlicense: apache-2.0\nconfigs:\n{''.join(lines)}---\n# Release\n", encoding="utf-8"
    )

    printed = run(
        RELEASE, tmp_path / "release", tmp_path / "out.npz", tmp_path / "cache", cwd=tmp_path
    )

    assert printed == "50 (64, 64)"
    expected: dict[str, Any] = {}
    with h5py.File(tmp_path / "release" / "fingerprints" / "canyon_6GHz.h5") as file:
        for name in ("ue/position_m", "ue/ue_index", "ue/site_index", "link/los"):
            expected[name.replace("/", ".")] = file[name][()]
        for name in ("aoa_profile", "distance_m", "gain_db", "has_signal"):
            expected[name] = file[name][()]
        expected |= {"csi.real": file["csi"][()].real, "csi.imag": file["csi"][()].imag}
    with np.load(tmp_path / "out.npz") as stored:
        assert set(stored.files) == set(expected)
        for name, values in widened(expected).items():
            np.testing.assert_array_equal(stored[name], values, err_msg=name)
            assert stored[name].dtype == values.dtype, name
