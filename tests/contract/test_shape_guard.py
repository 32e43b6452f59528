"""Canaries: the shape annotations are checked while the tests run."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from beartype import beartype
from checked_calls import checked_when_called
from jaxtyping import Float, TypeCheckError

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


@pytest.mark.parametrize(
    ("call", "message"),
    [(merge_duplicates, "Type-check error"), (get_scene, "12 not instance of str")],
)
def test_subpackages_are_checked_too_when_tests_run(
    call: Callable[[Any], object], message: str
) -> None:
    """`generator/` and `scenes/` lie outside `raymark/`: the import hook must reach them."""
    with pytest.raises(TypeCheckError, match=message):
        call(12)


def two_of_a_length(one: Float[np.ndarray, "n"], other: list[Float[np.ndarray, "n"]]) -> None:
    """Have axes, one of them within a list."""


def text_of(number: int) -> str:
    """Return no text."""
    return cast("str", number)


def test_check_is_of_axes_or_of_types_when_it_is_made_at_the_first_call() -> None:
    of_axes = checked_when_called(two_of_a_length, typechecker=beartype)
    of_types = checked_when_called(typechecker=beartype)(text_of)

    of_axes(np.zeros(2), [np.zeros(2)])
    for _ in range(2):
        with pytest.raises(TypeCheckError, match="other"):
            of_axes(np.zeros(2), [np.zeros(3)])
        with pytest.raises(TypeCheckError, match="return 1 violates type hint"):
            of_types(1)
    assert of_types.__name__ == "text_of"
