"""Canaries: the shape annotations are checked while the tests run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from raymark.dataset.writing.assembly import merge_duplicates
from raymark.radio import BAND_PRESETS, FrontEnd
from raymark.radio.frames import rotation_matrix, unit_vector
from raymark.radio.synthesis import PathBatch, add_noise
from raymark.scenes import get_scene


def test_call_raises_when_an_array_has_a_wrong_length() -> None:
    with pytest.raises(TypeCheckError, match="orientation_rad"):
        rotation_matrix(np.zeros(4))


def test_call_raises_when_two_arrays_disagree() -> None:
    with pytest.raises(TypeCheckError, match="azimuth_rad"):
        unit_vector(np.zeros(3), np.zeros(2))


def test_call_raises_when_a_type_is_wrong() -> None:
    with pytest.raises(TypeCheckError, match="csi"):
        add_noise(torch.zeros(2, 3, 4), BAND_PRESETS["6GHz"], FrontEnd(), torch.Generator())


def test_dataclass_raises_when_a_field_has_a_wrong_shape() -> None:
    link_path = torch.zeros(2, 3)
    with pytest.raises(TypeCheckError, match="delay_s"):
        PathBatch(
            amplitude=link_path.to(torch.complex64),
            delay_s=torch.zeros(2, 4),
            zenith_bs_rad=link_path,
            azimuth_bs_rad=link_path,
            num_interactions=link_path.to(torch.int64),
            mask=link_path.to(torch.bool),
            band=BAND_PRESETS["6GHz"],
            orientation_rad=np.zeros(3),
        )


@pytest.mark.parametrize("call", [merge_duplicates, get_scene])
def test_subpackages_are_checked_too_when_tests_run(call: Callable[[Any], object]) -> None:
    """`generator/` and `scenes/` lie outside `raymark/`: the import hook must reach them."""
    with pytest.raises(TypeCheckError, match="Type-check error"):
        call(12)
