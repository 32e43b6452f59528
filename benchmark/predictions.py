"""What a model returns, checked before anything is made of it."""

from typing import Any

import numpy as np
import torch

from raymark.benchmark.localizer import Prediction
from raymark.benchmark.metrics import point_errors
from raymark.errors import ScoringError, counted


def checked_prediction(returned: object, num_links: int) -> Prediction:
    """Return what `predict` returned as a prediction of numpy arrays.

    Tensors of torch, TensorFlow or JAX become arrays, from whatever device they are on.

    Args:
        returned: What it returned.
        num_links: Of the links that were to be located.

    Raises:
        ScoringError: If it is no `Prediction`, has the wrong shape, or holds values that are not
            finite or no covariance.
    """
    if not isinstance(returned, Prediction):
        raise ScoringError(
            "predict must return raymark.benchmark.Prediction(position_m=...), got "
            f"{_described(returned)}"
        )
    shapes = {"position_m": (num_links, 2), "covariance_m2": (num_links, 2, 2)}
    arrays = {
        name: finite_array(name, getattr(returned, name), shape)
        for name, shape in shapes.items()
        if name == "position_m" or getattr(returned, name) is not None
    }
    prediction = Prediction(**arrays)
    # Scored against itself: what scoring would refuse is refused before it is stored.
    point_errors(prediction.position_m, prediction.position_m, prediction.covariance_m2)
    return prediction


def finite_array(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return what a model returned as a numpy array of real numbers.

    Args:
        name: What it is, for the message.
        values: What was returned.
        shape: That it must have.

    Raises:
        ScoringError: If it is no such array, or holds values that are not finite.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values  # numpy has no bfloat16
    if isinstance(values, np.ma.MaskedArray):
        raise ScoringError(f"{name} must be a plain array, got a masked one; fill what it masks")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ScoringError(
            f"{name} must be an array of numbers, got {_described(values)}: {error}"
        ) from error
    if array.dtype.kind not in "fiu":
        raise ScoringError(f"{name} must hold real numbers, got {_described(array)}")
    if array.shape != shape:
        raise ScoringError(f"{name} must have shape {shape}, got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=tuple(range(1, array.ndim))))
    if bad.size:
        count = counted(bad.size, "link")
        raise ScoringError(f"{name} of test link {bad[0]} is not finite ({count})")
    return array.astype(np.float64) if array.dtype.kind != "f" else array


def _described(value: Any) -> str:
    """Return the type of a value, and what is known of an array."""
    kind = "None" if value is None else type(value).__name__
    if not (hasattr(value, "dtype") and hasattr(value, "shape")):
        return kind
    return f"{kind} of {value.dtype} with shape {tuple(value.shape)}"
