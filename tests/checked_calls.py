"""Checks of types and shapes that are made when they are needed; conftest.py imports this first.

The hook of `--jaxtyping-packages` decorates every function of raymark with `jaxtyping.jaxtyped`.
Made at import, checks of functions that nobody calls would take half of the time in which tests are
collected; and each call would look for axes, even of a function that takes no array, which doubles
the time of small ones. So a check is made at the first call, and is beartype's alone where no
annotation has axes.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import TypeCheckError, jaxtyped

_beartype = beartype(conf=BeartypeConf(violation_type=TypeCheckError))


def _may_have_axes(annotation: Any) -> bool:
    """Whether an annotation is of an array, or of something that holds one, or not known yet."""
    if isinstance(annotation, str | typing.ForwardRef | typing.TypeVar):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    parts = annotation if isinstance(annotation, list) else typing.get_args(annotation)
    return any(_may_have_axes(part) for part in parts)


def _checked(function: Callable[..., Any], typechecker: Any) -> Callable[..., Any]:
    annotations = getattr(function, "__annotations__", {})
    if any(_may_have_axes(annotation) for annotation in annotations.values()):
        return jaxtyped(function, typechecker=typechecker)
    return _beartype(function)


def checked_when_called(decorated: Any = None, *, typechecker: Any) -> Any:
    """Decorate as `jaxtyping.jaxtyped` does, a function at its first call."""
    if decorated is None:
        return functools.partial(checked_when_called, typechecker=typechecker)
    if not inspect.isfunction(decorated):
        return jaxtyped(decorated, typechecker=typechecker)
    made: list[Callable[..., Any]] = []

    @functools.wraps(decorated)
    def check(*arguments: Any, **keywords: Any) -> Any:
        __tracebackhide__ = True
        if not made:
            made.append(_checked(decorated, typechecker))
        return made[0](*arguments, **keywords)

    return check


jaxtyping.jaxtyped = checked_when_called
