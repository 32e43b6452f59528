"""Building materials of ITU-R P.2040: permittivity and conductivity over frequency."""

from dataclasses import dataclass

from raymark.errors import ConfigError

_GHZ = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialLaw:
    """One row of the table: eps_r = a f^b and sigma = c f^d [S/m], with f in GHz.

    Source: ITU-R P.2040-3, eqs. 28 and 29.
    """

    low_hz: float
    high_hz: float
    a: float
    b: float
    c: float
    d: float


def _laws(*rows: tuple[int | float, ...]) -> tuple[MaterialLaw, ...]:
    return tuple(
        MaterialLaw(low_hz=low * _GHZ, high_hz=high * _GHZ, a=a, b=b, c=c, d=d)
        for low, high, a, b, c, d in rows
    )


ITU_MATERIALS: dict[str, tuple[MaterialLaw, ...]] = {
    "vacuum": _laws((0.001, 100, 1.0, 0.0, 0.0, 0.0)),
    "concrete": _laws((1, 100, 5.24, 0.0, 0.0462, 0.7822), (110, 330, 5.17, 0.0, 0.0145, 1.09)),
    "brick": _laws((1, 40, 3.91, 0.0, 0.0238, 0.16), (110, 330, 4.15, 0.0, 0.0006, 1.5712)),
    "plasterboard": _laws(
        (1, 100, 2.73, 0.0, 0.0085, 0.9395),
        (110, 330, 2.56, 0.0, 0.0001, 1.7799),
        (100, 400, 2.65, 0.0, 0.0002, 1.598),
    ),
    "wood": _laws(
        (0.001, 100, 1.99, 0.0, 0.0047, 1.0718),
        (110, 330, 1.82, 0.0, 0.0040, 1.0761),
        (100, 400, 2.1183, 0.0, 0.0055, 1.1113),
    ),
    "glass": _laws(
        (0.1, 100, 6.31, 0.0, 0.0036, 1.3394),
        (220, 450, 5.79, 0.0, 0.0004, 1.658),
        (100, 400, 6.5767, 0.0, 0.0012, 1.4697),
    ),
    "clear_acrylic": _laws((110, 330, 2.58, 0.0, 0.0001, 1.6524)),
    "ceiling_board": _laws(
        (1, 100, 1.48, 0.0, 0.0011, 1.0750),
        (220, 450, 1.52, 0.0, 0.0029, 1.029),
        (100, 400, 1.2567, 0.0, 0.00013, 1.454),
    ),
    "chipboard": _laws((1, 100, 2.58, 0.0, 0.0217, 0.78), (100, 200, 2.16, 0.0, 0.0023, 1.359)),
    "plywood": _laws(
        (1, 40, 2.71, 0.0, 0.33, 0.0),
        (110, 330, 1.94, 0.0, 0.0067, 0.9982),
        (100, 400, 2.17, 0.0, 0.0063, 1.045),
    ),
    "marble": _laws(
        (1, 60, 7.074, 0.0, 0.0055, 0.9262),
        (110, 330, 7.94, 0.0, 0.0001, 1.7330),
        (100, 400, 8.62, 0.0, 0.0027, 1.15),
    ),
    "floorboard": _laws(
        (50, 100, 3.66, 0.0, 0.0044, 1.3515),
        (220, 300, 5.27, 0.0, 2.22e-17, 7.3413),
        (300, 400, 5.27, 0.0, 0.0003, 2.0298),
        (400, 450, 5.27, 0.0, 49.8726, 0.0),
        (100, 400, 3.1575, 0.0, 0.001675, 1.32775),
    ),
    "vinyl_tile": _laws((1, 40, 3.62, 0.0, 0.0051, 0.8422)),
    "carpet_tile": _laws((1, 40, 2.08, 0.0, 0.0009, 0.82)),
    "asphalt_concrete": _laws((1, 40, 4.83, 0.0, 0.0108, 1.3969)),
    "metal": _laws((1, 100, 1.0, 0.0, 1e7, 0.0)),
    "very_dry_ground": _laws((1, 10, 3.0, 0.0, 0.00015, 2.52)),
    "medium_dry_ground": _laws((1, 10, 15.0, -0.1, 0.035, 1.63)),
    "wet_ground": _laws((1, 10, 30.0, -0.4, 0.15, 1.30)),
}
"""Table 3 with its later additions, as sionna-rt implements it (a contract test compares).

Where ranges overlap the first one holds."""


def material_law(material: str, carrier_hz: float) -> MaterialLaw:
    """Return the law that holds for a material at a carrier.

    Args:
        material: Name of the table.
        carrier_hz: Carrier [Hz].

    Raises:
        ConfigError: If the material is unknown, or undefined there; its ranges are given.
    """
    laws = ITU_MATERIALS.get(material)
    if laws is None:
        raise ConfigError(f"'{material}' is no ITU-R P.2040 material")
    for law in laws:
        if law.low_hz <= carrier_hz <= law.high_hz:
            return law
    defined = " and ".join(ranges_of(material))
    raise ConfigError(
        f"material '{material}' is defined for {defined}, got {carrier_hz / _GHZ:g} GHz; choose "
        "another band or another material"
    )


def is_defined(material: str, carrier_hz: float) -> bool:
    """Tell whether a material of the table has values at a carrier [Hz]."""
    return any(law.low_hz <= carrier_hz <= law.high_hz for law in ITU_MATERIALS[material])


def ranges_of(material: str) -> list[str]:
    """Return the ranges in which a material of the table is defined, as text."""
    laws = ITU_MATERIALS[material]
    return [f"{law.low_hz / _GHZ:g}-{law.high_hz / _GHZ:g} GHz" for law in laws]
