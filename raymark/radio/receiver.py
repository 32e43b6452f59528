"""What received CSI: the band and the front-end that a file of CSI does not tell of itself."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from raymark.config import Strict, read_yaml, validate
from raymark.radio.bands import Band, FrontEnd, expand_band


class Receiver(Strict):
    """The band and the front-end of measured CSI: all that its noise and its paths hang on."""

    band: Annotated[Band, BeforeValidator(expand_band)] = Field(
        description="A name such as n78, a carrier such as 39GHz, or a mapping"
    )
    front_end: FrontEnd = FrontEnd()

    @property
    def in_use(self) -> FrontEnd:
        """The front-end of the band, if it has one of its own, else the general one."""
        return self.band.front_end or self.front_end

    @property
    def noise_variance(self) -> float:
        """Variance of the noise on one entry of the CSI."""
        return self.in_use.noise_variance(self.band)

    def describe(self) -> str:
        """Return panel, tones and link budget, as a clause."""
        panel, band = self.in_use.panel, self.band
        return (
            f"{panel.num_rows} x {panel.num_cols} '{panel.element_pattern}' elements, "
            f"{band.num_subcarriers} tones over {band.bandwidth_hz / 1e6:g} MHz at "
            f"{band.carrier_hz / 1e9:g} GHz, {self.in_use.ue.tx_power_dbm:g} dBm of the UE, noise "
            f"figure {band.noise_figure_db:g} dB"
        )


def read_receiver(path: Path) -> Receiver:
    """Read a receiver from a YAML file.

    Raises:
        ConfigError: If the file cannot be read or holds a wrong key or value (its place is named).
    """
    return validate(Receiver, read_yaml(path), where=str(path))
