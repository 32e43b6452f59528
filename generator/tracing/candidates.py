"""What the search hands on: candidates to be validated, in plain numpy."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

NO_SLOT, EDGE_SLOT = -1, -2


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCandidates:
    """Sequences of interactions between the BS and a UE that may be paths.

    Attributes:
        ue_index: UE of each candidate.
        slot: Plane of each reflection in order from the BS, -2 for the diffraction, -1 beyond.
        wedge: Diffracting wedge; -1 if none.
        flip: Whether the n-face of the wedge is the one turned to the BS.
    """

    ue_index: Int[np.ndarray, "candidate"]
    slot: Int[np.ndarray, "candidate depth"]
    wedge: Int[np.ndarray, "candidate"]
    flip: Bool[np.ndarray, "candidate"]

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.ue_index)

    def take(self, rows: Int[np.ndarray, "row"] | slice) -> "PathCandidates":
        """Return some of the candidates."""
        return PathCandidates(
            ue_index=self.ue_index[rows],
            slot=self.slot[rows],
            wedge=self.wedge[rows],
            flip=self.flip[rows],
        )


def join_candidates(parts: list[PathCandidates]) -> PathCandidates:
    """Concatenate candidates of the same depth."""
    return PathCandidates(
        ue_index=np.concatenate([part.ue_index for part in parts]),
        slot=np.concatenate([part.slot for part in parts]),
        wedge=np.concatenate([part.wedge for part in parts]),
        flip=np.concatenate([part.flip for part in parts]),
    )
