"""Tracks: what the tasks of a suite ask, what they train on, and what a suite must say of them."""

from dataclasses import dataclass
from typing import Literal

TrackName = Literal[
    "interpolation",
    "unseen-nlos",
    "unseen-track",
    "cross-band",
    "cross-scene",
    "impaired",
    "map-exact",
    "map-surveyed",
    "map-open",
    "map-height",
    "map-shift",
    "map-outline",
    "map-missing",
    "map-material",
    "map-pose",
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
        split: Kind of split that it needs, and that tracks without need may not have; None if any
            other.
        map_grade: How wrong the map is that models get; None if they get none.
    """

    title: str
    asks: str
    is_ranked: bool = True
    tests: str | None = None
    trains_on_other: Literal["bands", "scenes"] | None = None
    needs: frozenset[Literal["shots", "conditions"]] = frozenset()
    split: str | None = None
    map_grade: str | None = None


def _map_track(grade: str, about: str, *, is_ranked: bool = False) -> Track:
    return Track(
        title=f"Map, {grade}",
        asks=f"Unseen NLOS by models that know the city: {about}",
        is_ranked=is_ranked,
        split="nlos-blocks",
        map_grade=grade,
    )


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
    "map-exact": _map_track("exact", "the scene itself, a bound that no real map reaches"),
    "map-surveyed": _map_track("surveyed", "a map as of a city's own survey", is_ranked=True),
    "map-open": _map_track("open", "a map as volunteers make it"),
    "map-height": _map_track("height", "heights of buildings alone are wrong"),
    "map-shift": _map_track("shift", "positions of footprints alone are wrong"),
    "map-outline": _map_track("outline", "shapes of footprints alone are wrong"),
    "map-missing": _map_track("missing", "buildings are missing or merged, all else is right"),
    "map-material": _map_track("material", "materials alone are wrong"),
    "map-pose": _map_track("pose", "positions and angles of antennas alone are wrong"),
}
"""Every track by its name."""
