"""Extremely randomised trees as plain arrays, which are kept without code, and their spread."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import ExtraTreesRegressor

from raymark.models.extra_trees.forest import spread_of

_LEAST_VARIANCE_M2 = 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Trees that tell positions ([geurts2006]); node after node, tree after tree.

    Attributes:
        root: First node of each tree.
        column: Feature that a node asks for; -2 in leaves.
        threshold: Links go left up to it.
        left: Node on the left.
        right: Node on the right.
        value_m: What a leaf tells [m].
    """

    root: Int[np.ndarray, "tree"]
    column: Int[np.ndarray, "node"]
    threshold: Float[np.ndarray, "node"]
    left: Int[np.ndarray, "node"]
    right: Int[np.ndarray, "node"]
    value_m: Float[np.ndarray, "node 2"]

    @classmethod
    def of(
        cls,
        inputs: Float[np.ndarray, "link feature"],
        position_m: Float[np.ndarray, "link 2"],
        *,
        num_trees: int,
        min_samples_leaf: int,
        seed: int,
    ) -> "Forest":
        """Fit trees.

        Args:
            inputs: Features of labelled links.
            position_m: Where they stand [m].
            num_trees: How many trees.
            min_samples_leaf: Fewest links of a leaf.
            seed: Of their splits.
        """
        grown = ExtraTreesRegressor(
            num_trees, min_samples_leaf=min_samples_leaf, random_state=seed
        ).fit(inputs, position_m)
        trees = [tree.tree_ for tree in grown.estimators_]
        below = [(tree.children_left, tree.children_right) for tree in trees]
        root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        return cls(
            root=root,
            column=np.concatenate([tree.feature for tree in trees]).astype("i8"),
            threshold=np.concatenate([tree.threshold for tree in trees]),
            left=_joined([left for left, _ in below], root),
            right=_joined([right for _, right in below], root),
            value_m=np.concatenate([tree.value[:, :, 0] for tree in trees]),
        )

    def by_tree(
        self, inputs: Float[np.ndarray, "link feature"]
    ) -> Float[np.ndarray, "link tree 2"]:
        """Return what each tree tells of each link [m]."""
        row, narrow = np.arange(len(inputs))[:, None], inputs.astype("f4")  # as the trees grew
        node = np.broadcast_to(self.root, (len(inputs), len(self.root))).copy()
        while (is_inner := self.column[node] >= 0).any():
            goes_left = narrow[row, self.column[node]] <= self.threshold[node]
            below = np.where(goes_left, self.left[node], self.right[node])
            node = np.where(is_inner, below, node)
        return self.value_m[node]

    def located(
        self, inputs: Float[np.ndarray, "link feature"]
    ) -> tuple[Float[np.ndarray, "link 2"], Float[np.ndarray, "link 2 2"]]:
        """Return mean and covariance of what the trees tell of each link."""
        return spread_of(self.by_tree(inputs), _LEAST_VARIANCE_M2)


def _joined(below: list[np.ndarray], root: Int[np.ndarray, "tree"]) -> Int[np.ndarray, "node"]:
    """Return which node comes below each, counted through all trees."""
    return np.concatenate([node + at for node, at in zip(below, root, strict=True)]).astype("i8")
