"""Which paths of a link are needed to keep a share of its power at several carriers."""

import numpy as np
from jaxtyping import Bool, Float, Int


def needed_paths(
    power: Float[np.ndarray, "carrier path"],
    ue_index: Int[np.ndarray, "path"],
    num_ues: int,
    *,
    share: float,
) -> Bool[np.ndarray, "path"]:
    """Tell which paths are among the strongest of their link that hold a share of its power.

    A path counts that is needed at any carrier; one without power is not. What is told of a link
    hangs on its own paths alone.

    Args:
        power: Power of each path.
        ue_index: Link of each path; paths of equal power rank in the order in which they come.
        num_ues: Number of links.
        share: Share of the power of each link that is to be held.
    """
    needed = np.zeros(len(ue_index), dtype=bool)
    count = np.bincount(ue_index, minlength=num_ues)
    for values in power:
        order = np.lexsort((-values, ue_index))
        ue = ue_index[order]
        rank = np.arange(len(ue)) - (np.cumsum(count) - count)[ue]
        ranked = np.zeros((num_ues, count.max(initial=0)))
        ranked[ue, rank] = values[order]
        # A row of its own for each link: one running sum over all would round by the company.
        so_far = np.cumsum(ranked, axis=1)
        goal = share * so_far[:, -1:].sum(axis=1)
        before = so_far[ue, rank] - values[order]
        needed[order] |= (before < goal[ue]) & (values[order] > 0)
    return needed
