"""What maps are called: datasets of degraded scenes, which localizers that know the city read."""


def map_name(grade: str, seed: int) -> str:
    """Return the name of the dataset that is the map of a grade and seed."""
    return f"{grade}-{seed}"


def map_scene(scene: str, name: str) -> str:
    """Return the name of the scene that is another scene on a map of some name."""
    return f"{scene}-{name}"
