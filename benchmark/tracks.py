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
    "sequence",
    "sequence-unseen",
    "multi-site",
    "multi-site-2",
    "multi-site-1",
    "multi-site-nlos",
    "multi-site-nlos-2",
    "multi-site-nlos-1",
    "map-exact",
    "map-surveyed",
    "map-open",
    "map-height",
    "map-shift",
    "map-outline",
    "map-missing",
    "map-material",
    "map-pose",
    "map-sequence",
    "map-sequence-open",
    "paper-all",
    "paper-no-ue-angle",
    "paper-measured",
    "paper-noise",
    "paper-validation",
    "paper-whole-windows",
    "paper-whole-blocks",
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
        gives_tracks: Whether windows are whole tracks, in order of time; no other track has such.
        num_sites: Of UEs, not of links: how many sites of the scene hear each, in the order of the
            campaign; None where each link is a question of its own.
        map_grade: How wrong the map is that models get; None if they get none.
        is_reproduction: Whether it repeats the paper's protocol, which hands out what no user
            has: then true values, and training points in the tested windows, are allowed.
        selects_on_test: Whether models get the tested links, with their positions, to choose by,
            in place of validation links, which train.
    """

    title: str
    asks: str
    is_ranked: bool = True
    tests: str | None = None
    trains_on_other: Literal["bands", "scenes"] | None = None
    needs: frozenset[Literal["shots", "conditions"]] = frozenset()
    split: str | None = None
    gives_tracks: bool = False
    num_sites: int | Literal["all"] | None = None
    map_grade: str | None = None
    is_reproduction: bool = False
    selects_on_test: bool = False


def _site_track(
    num_sites: int | Literal["all"], *, is_ranked: bool = False, split: str | None = None
) -> Track:
    places = {
        None: "UEs on random tracks",
        "nlos-blocks": "UEs in whole blocks that are NLOS to the first site",
    }
    heard: dict[int | str, str] = {
        1: "the first site alone",
        2: "the first two sites",
        "all": "all sites",
    }
    title = "Several sites" if split is None else "Several sites, unseen NLOS"
    return Track(
        title=title if num_sites == "all" else f"{title}: {num_sites}",
        asks=f"{places[split]}, heard by {heard[num_sites]}",
        is_ranked=is_ranked,
        split=split,
        num_sites=num_sites,
    )


def _map_track(grade: str, about: str, *, is_ranked: bool = False, on_walks: bool = False) -> Track:
    title = "Map, sequence" if on_walks else "Map"
    asked = "Whole tracks through unseen blocks" if on_walks else "Unseen NLOS"
    return Track(
        title=f"{title}, {grade}",
        asks=f"{asked} by models that know the city: {about}",
        is_ranked=is_ranked,
        split="track-blocks" if on_walks else "nlos-blocks",
        gives_tracks=on_walks,
        map_grade=grade,
    )


def _paper_track(
    title: str, asks: str, *, selects_on_test: bool = False, split: str | None = None
) -> Track:
    return Track(
        title=title,
        asks=asks,
        is_ranked=False,
        is_reproduction=True,
        selects_on_test=selects_on_test,
        split=split,
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
    "sequence": Track(
        title="Sequence",
        asks="Whole tracks through the trained area, in order of time",
        gives_tracks=True,
    ),
    "sequence-unseen": Track(
        title="Sequence, unseen",
        asks="Whole tracks in order of time, scored in blocks that nothing trained in",
        split="track-blocks",
        gives_tracks=True,
    ),
    "multi-site": _site_track("all", is_ranked=True),
    "multi-site-2": _site_track(2),
    "multi-site-1": _site_track(1),
    "multi-site-nlos": _site_track("all", is_ranked=True, split="nlos-blocks"),
    "multi-site-nlos-2": _site_track(2, split="nlos-blocks"),
    "multi-site-nlos-1": _site_track(1, split="nlos-blocks"),
    "map-exact": _map_track("exact", "the scene itself, a bound that no real map reaches"),
    "map-surveyed": _map_track("surveyed", "a map as of a city's own survey", is_ranked=True),
    "map-open": _map_track("open", "a map as volunteers make it"),
    "map-height": _map_track("height", "heights of buildings alone are wrong"),
    "map-shift": _map_track("shift", "positions of footprints alone are wrong"),
    "map-outline": _map_track("outline", "shapes of footprints alone are wrong"),
    "map-missing": _map_track("missing", "buildings are missing or merged, all else is right"),
    "map-material": _map_track("material", "materials alone are wrong"),
    "map-pose": _map_track("pose", "positions and angles of antennas alone are wrong"),
    "map-sequence": _map_track(
        "surveyed", "a map as of a city's own survey", is_ranked=True, on_walks=True
    ),
    "map-sequence-open": _map_track("open", "a map as volunteers make it", on_walks=True),
    "paper-all": _paper_track(
        "Paper, all favours",
        "The paper's kind of protocol: random points in windows of neighbours, training points "
        "among them; no noise, true values, the angle at the UE; models choose by the test itself",
        selects_on_test=True,
    ),
    "paper-no-ue-angle": _paper_track(
        "Paper, no angle at the UE",
        "As the one before, without the angle at the UE",
        selects_on_test=True,
    ),
    "paper-measured": _paper_track(
        "Paper, measured",
        "As the one before, with all values estimated from CSI without noise",
        selects_on_test=True,
    ),
    "paper-noise": _paper_track(
        "Paper, with noise",
        "As the one before, with the noise of the link budget",
        selects_on_test=True,
    ),
    "paper-validation": _paper_track(
        "Paper, own validation",
        "As the one before; models choose by validation links, and see no test position",
    ),
    "paper-whole-windows": _paper_track(
        "Paper, whole windows",
        "As the one before, with whole windows held out: no training point stands in them",
    ),
    "paper-whole-blocks": _paper_track(
        "Paper, whole blocks",
        "As the one before, with whole blocks of NLOS held out",
        split="nlos-blocks",
    ),
}
"""Every track by its name."""
