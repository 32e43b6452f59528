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
from collections.abc import Callable, Iterator
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import TypeCheckError, jaxtyped

_beartype = beartype(conf=BeartypeConf(violation_type=TypeCheckError))


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation is made of."""
    parts = annotation if isinstance(annotation, list) else typing.get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _leaves(part)


def _checked(function: Callable[..., Any], leaves: list[Any], typechecker: Any) -> Any:
    if any(isinstance(x, typing.TypeVar) or _has_axes(x) for x in leaves):
        return jaxtyped(function, typechecker=typechecker)
    return _beartype(function)


def _has_axes(leaf: Any) -> bool:
    return inspect.isclass(leaf) and issubclass(leaf, jaxtyping.AbstractArray)


def checked_when_called(decorated: Any = None, *, typechecker: Any) -> Any:
    """Decorate as `jaxtyping.jaxtyped` does, a function at its first call."""
    if decorated is None:
        return functools.partial(checked_when_called, typechecker=typechecker)
    leaves = [x for a in getattr(decorated, "__annotations__", {}).values() for x in _leaves(a)]
    # A name that is written before its class cannot be looked up yet; jaxtyping takes it for any.
    is_open = any(isinstance(x, str | typing.ForwardRef) for x in leaves)
    if is_open or not inspect.isfunction(decorated):
        return jaxtyped(decorated, typechecker=typechecker)
    made: list[Callable[..., Any]] = []

    @functools.wraps(decorated)
    def check(*arguments: Any, **keywords: Any) -> Any:
        __tracebackhide__ = True
        if not made:
            made.append(_checked(decorated, leaves, typechecker))
        return made[0](*arguments, **keywords)

    return check


jaxtyping.jaxtyped = checked_when_called
