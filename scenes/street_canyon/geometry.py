"""Geometry of the street canyon: blocks of terraced houses on a flat ground plane.

`num_blocks_x` x `num_blocks_y` blocks of `block_size_m`, apart by `street_width_m`, each divided
into `lots_per_side`^2 houses. Heights are normal (mean, deviation), cut to [6 m, mean + 3 std].
The grid is centred on the origin; the crossing that is nearest to it carries the site `bs0`.
"""

from pathlib import Path

from raymark.errors import SceneError
from raymark.radio import Site
from raymark.scenes.geometries import Params

LEAST_HEIGHT_M = 6.0
_MARGIN_M = 60.0

_LIMITS: dict[str, tuple[float, float]] = {
    "num_blocks_x": (1, 60),
    "num_blocks_y": (1, 60),
    "block_size_m": (5, 500),
    "street_width_m": (3, 200),
    "lots_per_side": (1, 10),
    "mean_height_m": (LEAST_HEIGHT_M, 300),
    "std_height_m": (0, 100),
    "bs_height_m": (2, 500),
    "seed": (0, 2**32 - 1),
}


def default_params() -> Params:
    """Return every parameter with its default."""
    return {
        "num_blocks_x": 6,
        "num_blocks_y": 6,
        "block_size_m": 50.0,
        "street_width_m": 18.0,
        "lots_per_side": 1,
        "mean_height_m": 20.0,
        "std_height_m": 5.0,
        "bs_height_m": 10.0,
        "seed": 0,
    }


def build(params: Params, folder: Path) -> None:
    """Write `scene.xml` and one PLY per material, each house a closed box; see the module.

    Raises:
        SceneError: If a parameter is not a number within its limits.
    """
    from raymark.scenes.street_canyon.houses import write_houses  # noqa: PLC0415 - an extra's

    write_houses(_checked(params), extent(params), folder)


def sites(params: Params) -> tuple[Site, ...]:
    """Return one site on a lamp post at the central crossing, looking along +x and +y streets."""
    values = _checked(params)
    pitch = values["block_size_m"] + values["street_width_m"]
    # With an odd number of blocks the origin lies in a block; half a pitch leads to a crossing.
    x = pitch / 2 if int(values["num_blocks_x"]) % 2 else 0.0
    y = pitch / 2 if int(values["num_blocks_y"]) % 2 else 0.0
    position = (x, y, values["bs_height_m"])
    note = "lamp post at the crossing nearest to the centre"
    return (Site(name="bs0", position_m=position, azimuth_deg=45.0, downtilt_deg=5.0, note=note),)


def extent(params: Params) -> tuple[float, float, float, float]:
    """Return x_min, y_min, x_max, y_max of the ground [m]."""
    values = _checked(params)
    pitch = values["block_size_m"] + values["street_width_m"]
    half_x = values["num_blocks_x"] * pitch / 2 + _MARGIN_M
    half_y = values["num_blocks_y"] * pitch / 2 + _MARGIN_M
    return -half_x, -half_y, half_x, half_y


def _checked(params: Params) -> dict[str, float]:
    values = {}
    for name, (low, high) in _LIMITS.items():
        value = params[name]
        if isinstance(value, str) or not low <= value <= high:
            raise SceneError(
                f"scene 'street_canyon': {name} must be a number from {low:g} to {high:g}, "
                f"got {value!r}"
            )
        values[name] = float(value)
    return values
