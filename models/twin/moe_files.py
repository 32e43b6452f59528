"""How a mixture is kept: numbers and arrays, and no code."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from raymark.models.twin.cues import REGRESSIONS, CueSource
from raymark.models.twin.densities import Told
from raymark.models.twin.experts import Level, Spread, Surroundings
from raymark.models.twin.forest import Forest
from raymark.models.twin.knowledge import Knowledge
from raymark.models.twin.router import Router

_STATE_NAME, _ARRAYS_NAME = "mixture.json", "mixture.npz"
_ANYWHERE = ("mean_m", "covariance_m2")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureState:
    """All that was learnt and chosen.

    Attributes:
        source: Tells cues.
        known: What experts know beside them.
        router: Weighs the experts.
        told: Which point of the mixture is told.
        levels: How sure the map's experts are.
    """

    source: CueSource
    known: Surroundings
    router: Router
    told: Told
    levels: tuple[Level, ...]

    @property
    def num_parameters(self) -> int:
        """Number of fitted numbers; every node of a tree is one."""
        nodes = sum(len(forest.column) for forest in self.source.forests.values())
        of_router = self.router.slope.size + self.router.offset.size
        return self.source.knowledge.num_parameters + nodes + of_router

    def save(self, folder: Path) -> None:
        """Write it to files in a folder."""
        self.source.knowledge.save(folder)
        plain = {
            "is_corrected": self.source.is_corrected,
            "num_modes": self.source.num_modes,
            "told": self.told,
            "levels": [asdict(level) for level in self.levels],
            "step_m": self.known.step_m,
            "spread": [asdict(spread) for spread in self.known.spread],
        }
        (folder / _STATE_NAME).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        arrays = {f"router_{name}": getattr(self.router, name) for name in Router.__slots__}
        arrays |= {f"anywhere_{name}": getattr(self.known, name) for name in _ANYWHERE}
        for forest, grown in self.source.forests.items():
            arrays |= {f"{forest}_{name}": getattr(grown, name) for name in Forest.__slots__}
        np.savez(folder / _ARRAYS_NAME, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "MixtureState":
        """Read what `save` has written."""
        plain = json.loads((folder / _STATE_NAME).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS_NAME, allow_pickle=False) as stored:
            forests = {
                forest: Forest(**{name: stored[f"{forest}_{name}"] for name in Forest.__slots__})
                for forest in REGRESSIONS
            }
            router = Router(**{name: stored[f"router_{name}"] for name in Router.__slots__})
            anywhere = {name: stored[f"anywhere_{name}"] for name in _ANYWHERE}
        return cls(
            source=CueSource(
                knowledge=Knowledge.load(folder),
                forests=forests,
                is_corrected=plain["is_corrected"],
                num_modes=plain["num_modes"],
            ),
            known=Surroundings(
                spread=tuple(Spread(**values) for values in plain["spread"]),
                step_m=plain["step_m"],
                **anywhere,
            ),
            router=router,
            told=plain["told"],
            levels=tuple(Level(**values) for values in plain["levels"]),
        )
