"""Where the ITU-R P.2040 material models are defined; the models themselves are Sionna's."""

from raymark.errors import SceneError

_GHZ = 1e9

ITU_RANGES_HZ: dict[str, tuple[tuple[float, float], ...]] = {
    name: tuple((low * _GHZ, high * _GHZ) for low, high in ranges)
    for name, ranges in {
        "vacuum": ((0.001, 100),),
        "concrete": ((1, 100), (110, 330)),
        "brick": ((1, 40), (110, 330)),
        "plasterboard": ((1, 100), (110, 330), (100, 400)),
        "wood": ((0.001, 100), (110, 330), (100, 400)),
        "glass": ((0.1, 100), (220, 450), (100, 400)),
        "clear_acrylic": ((110, 330),),
        "ceiling_board": ((1, 100), (220, 450), (100, 400)),
        "chipboard": ((1, 100), (100, 200)),
        "plywood": ((1, 40), (110, 330), (100, 400)),
        "marble": ((1, 60), (110, 330), (100, 400)),
        "floorboard": ((50, 100), (220, 300), (300, 400), (400, 450), (100, 400)),
        "vinyl_tile": ((1, 40),),
        "carpet_tile": ((1, 40),),
        "asphalt_concrete": ((1, 40),),
        "metal": ((1, 100),),
        "very_dry_ground": ((1, 10),),
        "medium_dry_ground": ((1, 10),),
        "wet_ground": ((1, 10),),
    }.items()
}
"""Ranges of ITU-R P.2040-3, table 3, as sionna-rt implements them (a contract test compares)."""


def check_material(material: str, carrier_hz: float, *, where: str) -> None:
    """Check that a material is defined at a carrier.

    Raises:
        SceneError: If it is unknown or undefined there; its ranges are given.
    """
    if material not in ITU_RANGES_HZ:
        raise SceneError(f"{where}: '{material}' is no ITU-R P.2040 material")
    ranges = ITU_RANGES_HZ[material]
    if not any(low <= carrier_hz <= high for low, high in ranges):
        defined = " and ".join(f"{low / _GHZ:g}-{high / _GHZ:g} GHz" for low, high in ranges)
        raise SceneError(
            f"{where}: material '{material}' is defined for {defined}, got "
            f"{carrier_hz / _GHZ:g} GHz; choose another band or another scene"
        )
