"""The radio front-end: bands, base-station panel, user equipment, impairments, and their limits."""

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from raymark.config import Strict, nearest
from raymark.errors import ConfigError
from raymark.radio.choices import LatePaths

SPEED_OF_LIGHT_M_S = 299_792_458.0
BOLTZMANN_J_K = 1.380649e-23
REFERENCE_TEMPERATURE_K = 290.0
MIN_CARRIER_HZ, MAX_CARRIER_HZ = 1e8, 3e11

Polarization = Literal["V", "H"]
ElementPattern = Literal["tr38901", "iso", "dipole"]


class Panel(Strict):
    """A uniform planar array in the local y-z plane, boresight +x, centred on the site."""

    num_rows: int = Field(default=8, ge=1, le=128, description="Elements above each other")
    num_cols: int = Field(default=8, ge=1, le=128, description="Elements beside each other")
    spacing_wavelengths: float = Field(
        default=0.5, gt=0, le=10, description="Element spacing in both directions [wavelengths]"
    )
    element_pattern: ElementPattern = Field(
        default="tr38901", description="Gain over direction; 3GPP TR 38.901, isotropic or dipole"
    )
    polarization: Polarization = Field(default="V", description="Vertical or horizontal")
    mirrors_back: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Let elements see behind the panel as well as before it; a path from behind "
        "then looks like its mirror image. Otherwise the panel of 'tr38901' elements is closed: "
        "nothing arrives from behind",
    )

    @property
    def num_antennas(self) -> int:
        """Number of elements."""
        return self.num_rows * self.num_cols

    @property
    def is_closed(self) -> bool:
        """Whether nothing arrives from behind: TR 38.901's elements sit on a plate.

        Their pattern ends at 30 dB below its peak, without a phase. Received as by open elements,
        a wave from behind would look like a wave from its mirror image before the panel.
        """
        return self.element_pattern == "tr38901" and not self.mirrors_back

    @model_validator(mode="after")
    def _is_unambiguous(self) -> "Panel":
        is_open = self.element_pattern != "tr38901"
        if self.mirrors_back and is_open and self.num_cols == 1:
            raise ValueError(
                f"mirrors_back is for panels that have a back; one column of "
                f"'{self.element_pattern}' elements sees all around without it"
            )
        if is_open and self.num_cols > 1 and not self.mirrors_back:
            raise ValueError(
                f"front/back ambiguity: a planar array of '{self.element_pattern}' elements has "
                f"the same response at azimuth +30 and at 180-30 = 150 deg from boresight, so "
                f"every point has a mirror twin behind the panel; use element_pattern 'tr38901' "
                f"(closed at the back) or num_cols 1, or allow it with mirrors_back"
            )
        if max(self.num_rows, self.num_cols) > 1 and self.spacing_wavelengths > 0.5:
            lobe = 1 / self.spacing_wavelengths
            raise ValueError(
                f"grating lobes: elements {self.spacing_wavelengths:g} wavelengths apart repeat "
                f"their response every {lobe:.3g} in the direction sine (2 is needed for a half "
                f"space); use spacing_wavelengths <= 0.5"
            )
        return self


class UserEquipment(Strict):
    """The single-antenna transmitter that is localized."""

    tx_power_dbm: float = Field(default=23.0, ge=-50, le=60, description="Transmit power [dBm]")
    element_pattern: ElementPattern = Field(default="iso", description="Gain over direction")
    polarization: Polarization = Field(default="V", description="Vertical or horizontal")


class Impairments(Strict):
    """Hardware faults that `measured` fingerprints may carry; all off by default."""

    clock_offset_std_s: float = Field(
        default=0.0, ge=0, le=1e-3, description="Deviation of the UE clock, one draw a link [s]"
    )
    random_phase: bool = Field(default=False, description="Uniform common phase, one draw a link")
    antenna_gain_std_db: float = Field(
        default=0.0, ge=0, le=20, description="Calibration error of each element's gain [dB]"
    )
    antenna_phase_std_rad: float = Field(
        default=0.0, ge=0, le=3.2, description="Calibration error of each element's phase [rad]"
    )
    quantization_bits: int | None = Field(
        default=None, ge=1, le=16, description="Bits per real dimension of the stored CSI"
    )


class FrontEnd(Strict):
    """What turns paths into CSI: panel, user equipment and impairments."""

    panel: Panel = Panel()
    ue: UserEquipment = UserEquipment()
    impairments: Impairments = Impairments()
    late_paths: LatePaths = Field(
        default="left_out",
        exclude_if=lambda value: value == "left_out",
        description="Paths that are longer than a band is unambiguous: left out of CSI, or aliased "
        "into it, where they look that much shorter",
    )

    def noise_variance(self, band: "Band") -> float:
        """Return the variance of the noise on one CSI entry (the channel gain has unit 1).

        The UE spreads its power evenly over the tones and sends known unit pilots, so the
        estimate of H carries noise of variance k T B F / P_tx, whatever the number of tones.
        """
        tx_power_w: float = 10 ** ((self.ue.tx_power_dbm - 30) / 10)
        return band.noise_power_w / tx_power_w


class Band(Strict):
    """One carrier with its grid of subcarriers and the receiver noise at the base station."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$", description="Short name, used in file names"
    )
    carrier_hz: float = Field(
        ge=MIN_CARRIER_HZ, le=MAX_CARRIER_HZ, description="Carrier frequency [Hz]"
    )
    bandwidth_hz: float = Field(
        default=50e6, gt=0, le=1e10, description="Span of the subcarrier grid [Hz]"
    )
    num_subcarriers: int = Field(default=64, ge=2, le=4096, description="Tones that are kept")
    noise_figure_db: float = Field(
        default=5.0,
        ge=0,
        le=30,
        description="Noise figure of the base station's receiver; a name alone brings 5 below "
        "7.125 GHz, 6 below 24.25 GHz and 7 above [dB]",
    )
    front_end: FrontEnd | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Replaces the campaign's front-end at this band",
    )

    @property
    def wavelength_m(self) -> float:
        """Wavelength [m]."""
        return SPEED_OF_LIGHT_M_S / self.carrier_hz

    @property
    def subcarrier_spacing_hz(self) -> float:
        """Distance between neighbouring tones [Hz]."""
        return self.bandwidth_hz / self.num_subcarriers

    @property
    def unambiguous_range_m(self) -> float:
        """Path length at which the delay of a path wraps around the grid of tones [m]."""
        return SPEED_OF_LIGHT_M_S / self.subcarrier_spacing_hz

    @property
    def noise_power_w(self) -> float:
        """Thermal noise k T B F over the whole bandwidth [W]."""
        factor: float = 10 ** (self.noise_figure_db / 10)
        return BOLTZMANN_J_K * REFERENCE_TEMPERATURE_K * self.bandwidth_hz * factor


def _nr_noise_figure_db(carrier_hz: float) -> float:
    """Return the noise figure that is assumed unless a band states its own (our decision) [dB]."""
    if carrier_hz < 7.125e9:
        return 5.0
    return 6.0 if carrier_hz < 24.25e9 else 7.0


def _carrier(name: str, carrier_hz: float) -> Band:
    return Band(name=name, carrier_hz=carrier_hz, noise_figure_db=_nr_noise_figure_db(carrier_hz))


BAND_PRESETS = {
    name: _carrier(name, carrier_ghz * 1e9)
    for name, carrier_ghz in {
        "2.6GHz": 2.6,
        "6GHz": 6.0,
        "28GHz": 28.0,
        # 5G NR, FR1: centres of the bands of TS 38.101-1, table 5.2-1.
        "n41": 2.593,
        "n78": 3.55,
        "n79": 4.7,
        "n104": 6.775,
        # FR3 candidates: centres of two ranges under study for WRC-27 (agenda item 1.7).
        "FR3-7.8GHz": 7.7625,
        "FR3-15GHz": 15.075,
        # FR2: centres of the bands of TS 38.101-2, table 5.2-1.
        "n258": 25.875,
        "n261": 27.925,
        "n257": 28.0,
        "n260": 38.5,
    }.items()
}
"""Bands by name; all span 50 MHz by 64 tones, which is unambiguous up to 384 m."""

REFERENCE_BANDS = tuple(_carrier(f"{ghz:g}GHz", ghz * 1e9) for ghz in (1, 3.5, 10, 28, 60))
"""Carriers at which the power of a link is kept, whatever the bands of a dataset (our decision)."""

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_CARRIER = re.compile(rf"({_NUMBER})\s*([kmgt]?hz)", re.IGNORECASE)
_UNITS = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9, "THz": 1e12}


def expand_band(value: Any) -> Any:
    """Replace the name of a preset, or a carrier such as "39 GHz" or 39e9, by the band.

    A mapping without `carrier_hz` starts from the band that its `name` names.

    Raises:
        ValueError: If the name is neither (the nearest preset is offered).
    """
    if isinstance(value, dict) and "carrier_hz" not in value and isinstance(value.get("name"), str):
        if not set(value) <= set(Band.model_fields):
            return value  # its keys are what is wrong
        band = _named_band(value["name"])
        return {**band.model_dump(), **value, "name": band.name}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _named_band(str(value)) if is_number or isinstance(value, str) else value


def parse_bands(text: str, *, option: str = "") -> tuple[Band, ...]:
    """Read the names of bands, separated by commas.

    Args:
        text: The names.
        option: How a user gave them, for the message.

    Raises:
        ConfigError: If one is neither a preset nor a carrier.
    """
    try:
        return tuple(_named_band(name) for name in text.split(","))
    except ValueError as error:
        given = f"{option} '{text}'".lstrip()
        raise ConfigError(f"{error} in {given}") from error


def band_name(text: str) -> str:
    """Return how a band's name is spelled: a carrier without spaces, its unit as usual.

    Example:
        >>> band_name("28 ghz"), band_name("3.5e9"), band_name("n78")
        ('28GHz', '3.5GHz', 'n78')
    """
    text = text.strip()
    carrier = _read_carrier(text)
    return text if carrier is None else carrier[0]


def _named_band(text: str) -> Band:
    name = band_name(text)
    if name in BAND_PRESETS:
        return BAND_PRESETS[name]
    carrier = _read_carrier(name)
    if carrier is None:
        raise ValueError(_unknown(name))
    carrier_hz = carrier[1]
    if carrier_hz < 0:
        raise ValueError(f"the carrier of band '{name}' is negative")
    if not MIN_CARRIER_HZ <= carrier_hz <= MAX_CARRIER_HZ:
        raise ValueError(
            f"the carrier of band '{name}' must be from {MIN_CARRIER_HZ / 1e9:g} to "
            f"{MAX_CARRIER_HZ / 1e9:g} GHz"
        )
    return _carrier(name, carrier_hz)


def _read_carrier(text: str) -> tuple[str, float] | None:
    """Return name and frequency [Hz] of a carrier as people write it; None if it is none.

    A number alone is one in Hz if it is not too small to be meant so.
    """
    match = _CARRIER.fullmatch(text)
    if match is not None:
        unit = next(name for name in _UNITS if name.lower() == match[2].lower())
        number = match[1].lstrip("+")
        name = f"0{number}{unit}" if number.startswith(".") else f"{number}{unit}"
        return name, float(number) * _UNITS[unit]
    if _is_number(text) and abs(float(text)) >= MIN_CARRIER_HZ:
        return f"{float(text) / 1e9:.12g}GHz", float(text)
    return None


def _is_number(text: str) -> bool:
    return re.fullmatch(_NUMBER, text, re.IGNORECASE) is not None


def _unknown(name: str) -> str:
    if _is_number(name):
        unit = "GHz" if abs(float(name)) <= MAX_CARRIER_HZ / 1e9 else "MHz"
        return f"band '{name}' has no unit: write '{name}{unit}', or its carrier in Hz, as 3.5e9"
    known = list(BAND_PRESETS)
    return (
        f"unknown band '{name}'{nearest(name, known)} (presets: {', '.join(known)}; any other is a "
        "carrier such as 39GHz, or a mapping with 'name' and 'carrier_hz')"
    )
