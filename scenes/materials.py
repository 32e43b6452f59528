"""Whether a scene's materials are defined where a campaign wants them."""

from raymark.errors import ConfigError, SceneError
from raymark.radio.p2040 import material_law


def check_material(material: str, carrier_hz: float, *, where: str) -> None:
    """Check that a material is defined at a carrier.

    Raises:
        SceneError: If it is unknown or undefined there; its ranges are given.
    """
    try:
        material_law(material, carrier_hz)
    except ConfigError as error:
        raise SceneError(f"{where}: {error}") from error
