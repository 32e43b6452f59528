"""Radio: bands and front-ends, sites and frames, and what a panel makes of paths.

Nothing here knows of files. Synthesis, fingerprints and estimation compute in torch and are
imported by their modules; the names below load without it.
"""

from raymark.radio.bands import (
    BAND_PRESETS,
    BOLTZMANN_J_K,
    MAX_CARRIER_HZ,
    MIN_CARRIER_HZ,
    REFERENCE_TEMPERATURE_K,
    SPEED_OF_LIGHT_M_S,
    Band,
    ElementPattern,
    FrontEnd,
    Impairments,
    Panel,
    Polarization,
    UserEquipment,
    band_name,
    expand_band,
    parse_bands,
)
from raymark.radio.choices import FingerprintKind, LatePaths, ProfileMethod
from raymark.radio.receiver import Receiver, read_receiver
from raymark.radio.site import Site, panels_of

__all__ = [
    "BAND_PRESETS",
    "BOLTZMANN_J_K",
    "MAX_CARRIER_HZ",
    "MIN_CARRIER_HZ",
    "REFERENCE_TEMPERATURE_K",
    "SPEED_OF_LIGHT_M_S",
    "Band",
    "ElementPattern",
    "FingerprintKind",
    "FrontEnd",
    "Impairments",
    "LatePaths",
    "Panel",
    "Polarization",
    "ProfileMethod",
    "Receiver",
    "Site",
    "UserEquipment",
    "band_name",
    "expand_band",
    "panels_of",
    "parse_bands",
    "read_receiver",
]
