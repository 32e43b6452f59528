"""A forest whose leaves and splits are chosen on validation data, with the spread of its trees."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesRegressor

from raymark.benchmark import Labelled, tune


class TunedForest:
    """Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006) from features to positions.

    Attributes:
        choices: What was chosen, and the errors of all that was tried [m].
        num_nodes: Of all trees.
    """

    choices: dict[str, Any]
    num_nodes: int

    def __init__(self, config: dict[str, Any], *, seed: int) -> None:
        """Take what to try from a model's configuration."""
        self._config, self._seed = config, seed

    def fit(
        self,
        inputs: Float[np.ndarray, "row feature"],
        position_m: Float[np.ndarray, "row 2"],
        located: Callable[[ExtraTreesRegressor], Float[np.ndarray, "link 2"]],
        validation: Labelled,
    ) -> None:
        """Choose leaf size and share of features.

        Args:
            inputs: Features of what trains.
            position_m: Where it is [m].
            located: Returns where a forest puts the links of `validation` [m].
            validation: To choose by.
        """
        config, forests = self._config, dict[tuple[int, float], ExtraTreesRegressor]()

        def predict(trial: tuple[int, float]) -> Float[np.ndarray, "link 2"]:
            forest = ExtraTreesRegressor(
                config["num_trees"],
                min_samples_leaf=trial[0],
                max_features=trial[1],
                random_state=self._seed,
            )
            forests[trial] = forest.fit(inputs, position_m)
            return located(forest)

        grid = itertools.product(config["min_samples_leaf"], config["max_features"])
        best, trials = tune(grid, predict, validation)
        self._trees = forests[best].estimators_
        self.choices = {
            "min_samples_leaf": best[0],
            "max_features": best[1],
            "validation_error_m": trials,
        }
        self.num_nodes = sum(tree.tree_.node_count for tree in self._trees)

    def predict(
        self, inputs: Float[np.ndarray, "row feature"]
    ) -> tuple[Float[np.ndarray, "row 2"], Float[np.ndarray, "row 2 2"]]:
        """Return the mean of the trees [m], and their covariance with a floor [m^2]."""
        seen = inputs.astype("f4")
        by_tree = np.stack([tree.predict(seen) for tree in self._trees], axis=1)
        return spread_of(by_tree, self._config["least_variance_m2"])


def spread_of(
    told_m: Float[np.ndarray, "row tree 2"], least_variance_m2: float
) -> tuple[Float[np.ndarray, "row 2"], Float[np.ndarray, "row 2 2"]]:
    """Return mean and covariance of what trees tell, with a floor of the variance.

    Args:
        told_m: What each tree tells of each row [m].
        least_variance_m2: What the trees have in common errs by at least this [m^2].
    """
    mean_m = told_m.mean(axis=1)
    gap_m = told_m - mean_m[:, None]
    covariance_m2 = np.einsum("rti,rtj->rij", gap_m, gap_m) / told_m.shape[1]
    return mean_m, covariance_m2 + least_variance_m2 * np.eye(2)
