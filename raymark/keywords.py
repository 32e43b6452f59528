"""Wrong keyword arguments, refused in the name of the function that was called."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from raymark.config import nearest

P = ParamSpec("P")
R = TypeVar("R")


def keywords_checked(
    *, more: Iterable[str] = (), required: Iterable[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function name its own keyword arguments when it is called with an unknown one.

    Args:
        more: What it takes besides its own, and hands on.
        required: Which of these must be given.

    Returns:
        A decorator; what it returns raises TypeError, as Python does, before the function runs.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        own = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and name != "self"
        ]
        known = list(dict.fromkeys([*own, *more]))

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in known:
                    raise TypeError(
                        f"{function.__name__}() takes no keyword argument '{name}'"
                        f"{nearest(name, known)} (it takes: {', '.join(known)})"
                    )
            missing = [name for name in required if name not in kwargs]
            if missing:
                raise TypeError(f"{function.__name__}() needs {' and '.join(missing)}")
            return function(*args, **kwargs)

        return checked

    return decorate
