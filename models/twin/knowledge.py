"""What labelled links tell of maps, band by band and site by site, and how it is kept."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from raymark.benchmark import CityMap, Labelled, Measurements
from raymark.models.twin.calibration import Calibration, calibrate, log_explained
from raymark.models.twin.correction import Corrections, corrections_of
from raymark.models.twin.features import Observed, Predicted, observed, predicted
from raymark.models.twin.matching import Matcher, Modes
from raymark.models.twin.pose import Pose, as_explained, at_places, pose_of

ANY_BAND = ""
"""Key of what was learnt on all bands together, for a band that no link was of."""

_STATE_NAME, _ARRAYS_NAME = "twin.json", "twin.npz"
_UNSEEN_M = 12.0
"""Links are hidden from each other so far [m] where widths of corrected paths are learnt."""

Place = tuple[str, str]
"""Name of a site and of a band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What was learnt of maps.

    Attributes:
        plain: What they are wrong by as they are, by band.
        corrected: What they are wrong by once their paths are corrected, by band.
        corrections: How paths are corrected, by site and band.
        poses: How maps are turned and shifted, by site and band; none if not learnt.
    """

    plain: Mapping[str, Calibration]
    corrected: Mapping[str, Calibration]
    corrections: Mapping[Place, Corrections]
    poses: Mapping[Place, Pose]

    @classmethod
    def of(cls, links: Labelled, *, is_posed: bool) -> "Knowledge":
        """Learn from labelled links whose sites have maps.

        Args:
            links: The links.
            is_posed: Whether to learn where the maps have the antenna, too.
        """
        return _Plain.of(links, is_posed=is_posed).corrected()

    @classmethod
    def chosen(
        cls, train: Labelled, validation: Labelled, is_posed: Sequence[bool]
    ) -> tuple["Knowledge", dict[str, float]]:
        """Learn with and without poses, and keep what explains validation links better.

        Args:
            train: Links to learn from.
            validation: Links to choose by, at their true places.
            is_posed: What to try.

        Returns:
            What is kept, and the log density of the estimated paths of a link by what was tried.
        """
        tried = {pose: _Plain.of(train, is_posed=pose) for pose in is_posed}
        density = {pose: plain.log_explained(validation) for pose, plain in tried.items()}
        best = max(density, key=density.__getitem__)
        told = {f"is_posed={pose}": value for pose, value in density.items()}
        return tried[best].corrected(), told

    @property
    def is_posed(self) -> bool:
        """Whether it was learnt where the maps have the antenna."""
        return bool(self.poses)

    def modes(self, links: Measurements, *, num_modes: int, is_corrected: bool) -> Modes:
        """Match links with the maps of their sites.

        Args:
            links: What was measured.
            num_modes: Candidates that are kept of each link.
            is_corrected: Whether the maps' paths are corrected.

        Raises:
            ValueError: If a site comes without a map.
        """
        seen = observed(links)
        parts = [
            (rows, self._matcher(place, city, is_corrected).best(seen.take(rows), num_modes))
            for place, rows, city in places_of(links)
        ]
        return Modes.joined(parts)

    def _matcher(self, place: Place, city: CityMap, is_corrected: bool) -> Matcher:
        pose, corrections = _pose_at(self.poses, place), self.corrections.get(place)
        paths, point_m = predicted(pose.paths(city.paths[place[1]])), pose.points(city.point_m)
        if is_corrected and corrections is not None:
            paths = corrections.apply(paths, point_m)
        calibrations = self.corrected if is_corrected else self.plain
        calibration = calibrations.get(place[1], calibrations[ANY_BAND])
        return Matcher(point_m, city.spacing_m, paths, calibration)

    def to_dict(self) -> dict[str, Any]:
        """Return calibrations and poses as plain numbers."""
        return {
            "poses": [
                {"site": site, "band": band, **pose.to_dict()}
                for (site, band), pose in self.poses.items()
            ],
            "plain": {band: c.to_dict() for band, c in self.plain.items()},
            "corrected": {band: c.to_dict() for band, c in self.corrected.items()},
        }

    @property
    def num_parameters(self) -> int:
        """Number of fitted numbers."""
        calibrations = [*self.plain.values(), *self.corrected.values()]
        corrections = sum(c.difference.size for c in self.corrections.values())
        return (
            sum(c.num_parameters for c in calibrations)
            + corrections
            + len(self.poses) * len(Pose.__slots__)
        )

    def save(self, folder: Path) -> None:
        """Write it to files in a folder."""
        state = {**self.to_dict(), "places": list(self.corrections)}
        (folder / _STATE_NAME).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        arrays = {
            f"{i}_{name}": getattr(corrections, name)
            for i, corrections in enumerate(self.corrections.values())
            for name in Corrections.__slots__
        }
        np.savez(folder / _ARRAYS_NAME, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "Knowledge":
        """Read what `save` has written."""
        state = json.loads((folder / _STATE_NAME).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS_NAME, allow_pickle=False) as stored:
            corrections = {
                (site, band): Corrections(
                    **{name: stored[f"{i}_{name}"] for name in Corrections.__slots__}
                )
                for i, (site, band) in enumerate(state["places"])
            }
        calibrations = {
            name: {band: Calibration.from_dict(values) for band, values in state[name].items()}
            for name in ("plain", "corrected")
        }
        poses = {
            (told["site"], told["band"]): Pose(**{name: told[name] for name in Pose.__slots__})
            for told in state["poses"]
        }
        return cls(corrections=corrections, poses=poses, **calibrations)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Labelled links of one site and band, and what its map has at their places."""

    seen: Observed
    truth: Predicted
    position_m: Float[np.ndarray, "link 2"]

    @classmethod
    def of(
        cls, links: Labelled, rows: Int[np.ndarray, "row"], city: CityMap, band: str, pose: Pose
    ) -> "_Known":
        truth, distance_m = at_places(city, band, pose, links.position_m[rows])
        outdoors = np.flatnonzero(distance_m <= city.spacing_m)
        rows, truth = rows[outdoors], truth.take(outdoors)
        seen = observed(links.measurements.take(rows))
        return cls(seen=seen, truth=truth, position_m=links.position_m[rows])

    def corrected_by(self, corrections: Corrections) -> "_Known":
        truth = corrections.apply(self.truth, self.position_m, beyond_m=_UNSEEN_M)
        return _Known(seen=self.seen, truth=truth, position_m=self.position_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """What was learnt of maps before their paths are corrected."""

    known: Mapping[Place, _Known]
    poses: Mapping[Place, Pose]
    calibrations: Mapping[str, Calibration]

    @classmethod
    def of(cls, links: Labelled, *, is_posed: bool) -> "_Plain":
        places = list(places_of(links.measurements))
        poses = {
            place: pose_of(
                observed(links.measurements.take(rows)), links.position_m[rows], city, place[1]
            )
            for place, rows, city in places
            if is_posed
        }
        known = {
            place: _Known.of(links, rows, city, place[1], poses.get(place, Pose()))
            for place, rows, city in places
        }
        return cls(known=known, poses=poses, calibrations=_calibrated(known))

    def log_explained(self, links: Labelled) -> float:
        """Return the log density of the estimated paths of labelled links, a link."""
        explained = 0.0
        for place, rows, city in places_of(links.measurements):
            pose = _pose_at(self.poses, place)
            truth = as_explained(city, place[1], pose, links.position_m[rows])
            seen = observed(links.measurements.take(rows))
            calibration = self.calibrations.get(place[1], self.calibrations[ANY_BAND])
            explained += log_explained(seen, truth, calibration)
        return explained / max(len(links), 1)

    def corrected(self) -> Knowledge:
        """Learn how single paths are corrected, and what is left then."""
        corrections = {
            place: corrections_of(at.seen, at.truth, at.position_m, self.calibrations[place[1]])
            for place, at in self.known.items()
        }
        moved = {place: at.corrected_by(corrections[place]) for place, at in self.known.items()}
        return Knowledge(
            plain=self.calibrations,
            corrected=_calibrated(moved),
            corrections=corrections,
            poses=self.poses,
        )


def places_of(links: Measurements) -> Iterator[tuple[Place, Int[np.ndarray, "row"], CityMap]]:
    """Yield site and band, the links that share both, and the map around the site.

    Raises:
        ValueError: If a site comes without a map.
    """
    pairs = np.stack([links.site_index, links.band_index], axis=1)
    kinds, of_link = np.unique(pairs, axis=0, return_inverse=True)
    for i, (site_index, band_index) in enumerate(kinds):
        site = links.sites[site_index]
        if site.city is None:
            raise ValueError(f"site {site.name} comes without a map")
        rows = np.flatnonzero(of_link.ravel() == i)
        yield (site.name, links.bands[band_index].name), rows, site.city


def _pose_at(poses: Mapping[Place, Pose], place: Place) -> Pose:
    """Return the pose at a site and band, or at another band of the site, or none."""
    same = [pose for (site, _), pose in poses.items() if site == place[0]]
    return poses.get(place, same[0] if same else Pose())


def _calibrated(known: Mapping[Place, _Known]) -> dict[str, Calibration]:
    """Learn for each band, and for one that no link is of."""
    bands = dict.fromkeys(band for _, band in known)
    groups = {band: [at for place, at in known.items() if place[1] == band] for band in bands}
    found = {band: _calibration(group) for band, group in groups.items()}
    # Of one band, all bands together say the same.
    of_any = next(iter(found.values())) if len(found) == 1 else _calibration([*known.values()])
    return {**found, ANY_BAND: of_any}


def _calibration(group: Sequence[_Known]) -> Calibration:
    return calibrate(
        Observed.joined([at.seen for at in group]), Predicted.joined([at.truth for at in group])
    )
