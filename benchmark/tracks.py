"""Tracks: what the tasks of a suite ask, what they train on, and what a suite must say of them."""

from dataclasses import dataclass
from typing import Literal

TrackName = Literal[
    "interpolation", "unseen-nlos", "unseen-track", "cross-band", "cross-scene", "impaired"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One kind of question.

    Attributes:
        title: Its heading on a board.
        asks: What it asks, as a sentence without its stop.
        is_ranked: Whether models are compared by it.
        tests: What it tests where its places are those of training; None if it tests places.
        trains_on_other: Train on every other one of these, not on the tested one.
        needs: Settings that a suite must give for it. Shots are for no other track; conditions of
            other tracks are a link budget, for training and test alike.
        split: Kind of split that it needs, and that no other track may have; None if any other.
    """

    title: str
    asks: str
    is_ranked: bool = True
    tests: str | None = None
    trains_on_other: Literal["bands", "scenes"] | None = None
    needs: frozenset[Literal["shots", "conditions"]] = frozenset()
    split: str | None = None


TRACKS: dict[TrackName, Track] = {
    "interpolation": Track(
        title="Interpolation",
        asks="Random tracks of the same area; a diagnostic, not ranked",
        is_ranked=False,
    ),
    "unseen-nlos": Track(
        title="Unseen NLOS",
        asks="Whole blocks of NLOS, with a buffer to every training point",
        split="nlos-blocks",
    ),
    "unseen-track": Track(
        title="Unseen track",
        asks="New tracks through the trained area, with a buffer around each point",
    ),
    "cross-band": Track(
        title="Cross band",
        asks="Trained on the other bands, tested on this one",
        tests="bands",
        trains_on_other="bands",
    ),
    "cross-scene": Track(
        title="Cross scene",
        asks="Trained on the other scenes, and on a few labelled links (shots) of this one",
        tests="scenes",
        trains_on_other="scenes",
        needs=frozenset({"shots"}),
    ),
    "impaired": Track(
        title="Impaired",
        asks="Trained on clean measurements; tested with hardware errors, less power, blockage",
        tests="hardware",
        needs=frozenset({"conditions"}),
    ),
}
"""Every track by its name."""
