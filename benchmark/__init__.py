"""Tasks, splits, metrics, baselines' scores and the board; it knows datasets only by schema."""
