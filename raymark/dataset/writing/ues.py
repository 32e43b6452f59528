"""UEs in their fixed order, with the tracks that they walk on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledUEs:
    """UEs of one site in their fixed order.

    Attributes:
        position_m: World positions [m].
        track_id: Track of each UE; -1 if not on a track.
        track_step: Time order on the track; -1 if none.
    """

    position_m: Float[np.ndarray, "ue 3"]
    track_id: Int[np.ndarray, "ue"]
    track_step: Int[np.ndarray, "ue"]

    def __len__(self) -> int:
        """Return the number of UEs."""
        return len(self.position_m)

    def take(self, rows: Int[np.ndarray, "row"] | slice) -> "SampledUEs":
        """Return some of the UEs."""
        return SampledUEs(
            position_m=self.position_m[rows],
            track_id=self.track_id[rows],
            track_step=self.track_step[rows],
        )


def join_ues(parts: Sequence[SampledUEs]) -> SampledUEs:
    """Put the UEs drawn around several sites into one list; tracks are numbered on."""
    num_tracks = [int(part.track_id.max(initial=-1)) + 1 for part in parts]
    first = np.cumsum([0, *num_tracks[:-1]])
    tracks = [
        np.where(part.track_id < 0, -1, part.track_id + start)
        for part, start in zip(parts, first, strict=True)
    ]
    return SampledUEs(
        position_m=np.concatenate([part.position_m for part in parts]),
        track_id=np.concatenate(tracks).astype("i4"),
        track_step=np.concatenate([part.track_step for part in parts]),
    )
