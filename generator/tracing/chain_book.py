"""Distinct sequences, entered as rays find them in several launches."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int


class ChainBook:
    """Distinct sequences of numbers: a root, and then one number at every bounce.

    Attributes:
        num_bounces: Greatest length, beside the root.
    """

    def __init__(self, num_bounces: int, num_values: int) -> None:
        """Start with none.

        Args:
            num_bounces: Greatest length, beside the root.
            num_values: The numbers that follow a root are below it.
        """
        self.num_bounces = num_bounces
        none = np.zeros(0, dtype="i8")
        self._num_values = num_values
        self._keys, self._numbers = [none] * num_bounces, [none] * num_bounces

    def enter(
        self,
        bounce: int,
        before: Int[np.ndarray, "ray"],
        value: Int[np.ndarray, "ray"],
    ) -> tuple[Int[np.ndarray, "ray"], Bool[np.ndarray, "ray"]]:
        """Return the number of the sequence of each ray, and which rays have found theirs first.

        Args:
            bounce: Bounce that is entered, from 0.
            before: Number of the sequence up to it; the root at the first bounce.
            value: What is appended.
        """
        keys, numbers = self._keys[bounce], self._numbers[bounce]
        row, distinct = pd.factorize(before * self._num_values + value)
        order = np.argsort(distinct)
        at = np.searchsorted(keys, distinct[order])
        is_new = np.ones(len(distinct), dtype=bool)
        within = at < len(keys)
        is_new[within] = keys[at[within]] != distinct[order][within]
        known, fresh = order[~is_new], order[is_new]
        number = np.empty(len(distinct), dtype="i8")
        number[known] = numbers[at[~is_new]]
        number[fresh] = len(keys) + np.arange(len(fresh))
        self._keys[bounce] = np.insert(keys, at[is_new], distinct[fresh])
        self._numbers[bounce] = np.insert(numbers, at[is_new], number[fresh])
        # Distinct values are numbered as they appear.
        is_first = np.diff(np.maximum.accumulate(row), prepend=-1) > 0
        is_first[is_first] = np.isin(row[is_first], fresh)
        return number[row], is_first

    def entries(
        self, bounce: int
    ) -> tuple[Int[np.ndarray, "sequence"], Int[np.ndarray, "sequence"]]:
        """Return what was entered at a bounce, in the order of the numbers: before, and value."""
        keys = np.empty_like(self._keys[bounce])
        keys[self._numbers[bounce]] = self._keys[bounce]
        before, value = np.divmod(keys, self._num_values)
        return before, value

    def sequences(self) -> list[Int[np.ndarray, "sequence column"]]:
        """Return the sequences by length, each table in the order of their numbers."""
        tables: list[Int[np.ndarray, "sequence column"]] = []
        for bounce in range(len(self._keys)):
            before, value = self.entries(bounce)
            head = tables[-1][before] if tables else before[:, None]
            tables.append(np.column_stack([head, value]))
        return tables
