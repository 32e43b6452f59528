"""Seconds of the processor: of a call, and of parts of the library, whose functions are wrapped."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any
from unittest import mock

REST = "all else"


def timed(
    call: Callable[[], Any], clock: Callable[[], float] = time.process_time
) -> tuple[float, Any]:
    """Return what one call took, in seconds of the processor if not told otherwise, and its result.

    The processor's seconds are those of all threads: what else runs on the machine hardly matters.
    """
    started = clock()
    result = call()
    return clock() - started, result


class StageClock:
    """Adds up processor seconds of all threads by the innermost stage that is open.

    Dr.Jit computes when it is asked for numbers: what a stage returns is computed at its end, so
    that its time is its own.

    Attributes:
        seconds: By stage.
    """

    def __init__(self, whole: frozenset[str], finish: Callable[[Any], None]) -> None:
        """Start the clock.

        Args:
            whole: Stages that count whatever they call as theirs.
            finish: Computes what a stage has returned.
        """
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._whole, self._finish = whole, finish
        self._open, self._since = [REST], time.process_time()

    @contextmanager
    def watching(self, places: dict[str, list[tuple[Any, str]]]) -> Iterator[None]:
        """Count the functions of every stage, given by module or class and name, within."""
        with ExitStack() as patches:
            for stage, functions in places.items():
                for owner, name in functions:
                    wrapped = self._wrapped(getattr(owner, name), stage)
                    patches.enter_context(mock.patch.object(owner, name, wrapped))
            self._since = time.process_time()
            yield
            self._count()

    def _wrapped(self, function: Any, stage: str) -> Any:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._stage(stage):
                result = function(*args, **kwargs)
                self._finish(result)
                return result

        @wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Any:
            items, end = function(*args, **kwargs), object()
            while True:
                with self._stage(stage):
                    item = next(items, end)
                    self._finish(item)
                if item is end:
                    return
                yield item

        return generate if isgeneratorfunction(function) else call

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._count()
        self._open.append(self._open[-1] if self._open[-1] in self._whole else name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def _count(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now
