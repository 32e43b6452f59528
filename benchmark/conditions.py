"""How a task measures links, where it is not as the dataset's own front-end does."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from raymark.config import Strict
from raymark.radio import Band, FingerprintKind, FrontEnd, Impairments

MOST_PATHS = 24
"""Paths that are estimated of a link: weak ones too, since those that are not bias the others."""

MOST_GAIN_DB = 60.0
"""Largest change of the UE's power or of the processing gain [dB]; `noise: none` is as much."""


class Conditions(Strict):
    """How measurements differ from those of the dataset's own front-end.

    On track `impaired` they are those of the test alone; on all others training, validation and
    test are measured so, and nothing but the link budget may differ.
    """

    impairments: Impairments = Impairments()
    noise: Literal["thermal", "none"] = Field(
        default="thermal",
        exclude_if=lambda value: value == "thermal",
        description=f"That of the receiver; `none` is {MOST_GAIN_DB:g} dB less, which hides "
        "nothing but rounding",
    )
    power_change_db: float = Field(
        default=0.0,
        ge=-MOST_GAIN_DB,
        le=MOST_GAIN_DB,
        description="UE power or processing gain, added [dB]",
    )
    bandwidth_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        exclude_if=lambda value: value == 1.0,
        description="Share of the band's tones, its middle, over which the UE spreads its power",
    )
    num_paths: int | None = Field(
        default=None,
        ge=1,
        le=MOST_PATHS,
        exclude_if=lambda value: value is None,
        description="Estimated paths that are handed on, the strongest ones; 8 if not given",
    )
    fingerprints: FingerprintKind = Field(
        default="measured",
        exclude_if=lambda value: value == "measured",
        description="`oracle` hands out the ray tracer's own values, its strongest paths among "
        "them, in place of estimates; on the tracks of the paper alone",
    )
    ue_angle: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Hand out the azimuth of the first path at the UE too, which no base station "
        "knows; with oracle fingerprints alone",
    )
    blockage_probability: float = Field(
        default=0.0, ge=0, le=1, description="Chance of each path to be blocked by moved clutter"
    )
    blockage_loss_db: float = Field(default=20.0, ge=0, description="Loss of a blocked path [dB]")

    @model_validator(mode="after")
    def _has_one_power(self) -> "Conditions":
        if self.noise == "none" and self.power_change_db:
            raise ValueError(
                "without noise, power_change_db changes nothing; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _is_oracle_throughout(self) -> "Conditions":
        if self.ue_angle and self.fingerprints != "oracle":
            raise ValueError("ue_angle is known to an oracle alone; it needs fingerprints: oracle")
        measured = self.noise != "none" or self.bandwidth_share < 1 or self.changes_hardware
        if self.fingerprints == "oracle" and measured:
            raise ValueError(
                "an oracle measures nothing: fingerprints: oracle needs noise: none, and no "
                "impairments, blockage or narrower band"
            )
        return self

    @property
    def changes_hardware(self) -> bool:
        """Whether more than the link budget differs: impairments or blocked paths."""
        return self.impairments != Impairments() or self.blockage_probability > 0

    @property
    def budget(self) -> str:
        """What of the link budget differs, in words; empty if nothing does."""
        parts = {
            "true values": self.fingerprints == "oracle",
            "the angle at the UE": self.ue_angle,
            "no noise": self.noise == "none" and self.fingerprints == "measured",
            f"{self.power_change_db:+g} dB": self.power_change_db != 0,
            f"{100 * self.bandwidth_share:g} % of the band": self.bandwidth_share < 1,
            f"{self.num_paths} estimated paths": self.num_paths is not None,
        }
        return ", ".join(text for text, differs in parts.items() if differs)

    def applied_to(self, front_end: FrontEnd, band: Band) -> tuple[FrontEnd, Band]:
        """Return the front-end and the band that measure under these conditions."""
        added_db = MOST_GAIN_DB if self.noise == "none" else self.power_change_db
        power_dbm = front_end.ue.tx_power_dbm + added_db
        ue = front_end.ue.model_copy(update={"tx_power_dbm": power_dbm})
        is_impaired = self.impairments != Impairments()
        impairments = self.impairments if is_impaired else front_end.impairments
        num_tones = max(2, 2 * round(self.bandwidth_share * band.num_subcarriers / 2))
        narrowed = {
            "num_subcarriers": num_tones,
            "bandwidth_hz": num_tones * band.subcarrier_spacing_hz,
        }
        return (
            front_end.model_copy(update={"ue": ue, "impairments": impairments}),
            band if self.bandwidth_share == 1 else band.model_copy(update=narrowed),
        )


def check_budget(
    track: str,
    conditions: Conditions | None,
    gains_db: Sequence[float],
    *,
    of_test: bool,
    may_be_oracle: bool,
) -> None:
    """Check that the conditions of a track, and the gains at which it is asked again, fit it.

    Args:
        track: Its name, for the sentence.
        conditions: Its conditions.
        gains_db: The gains [dB].
        of_test: Whether its conditions are those of the test alone; then they must be given.
        may_be_oracle: Whether it may hand out true values.

    Raises:
        ValueError: If they do not.
    """
    if of_test and (conditions is None or gains_db):
        use = "has no use for 'gains_db'" if gains_db else "needs 'conditions'"
        raise ValueError(f"track '{track}' {use}")
    base = conditions or Conditions()
    if base.changes_hardware and not of_test:
        raise ValueError(
            f"track '{track}' has no use for impairments and blockage; its conditions are a link "
            "budget: noise, power_change_db, bandwidth_share, num_paths"
        )
    if base.fingerprints == "oracle" and not may_be_oracle:
        raise ValueError(f"track '{track}' hands out estimates alone, no oracle's fingerprints")
    if 0.0 in gains_db or len(set(gains_db)) < len(gains_db):
        raise ValueError("gains_db are different gains; 0 is the track itself")
    if gains_db and base.noise == "none":
        raise ValueError("without noise, gains_db change nothing; leave one of them out")
    if any(abs(base.power_change_db + gain_db) > MOST_GAIN_DB for gain_db in gains_db):
        raise ValueError(f"power_change_db and a gain add up to {MOST_GAIN_DB:g} dB at most")


def with_gain(conditions: Conditions | None, gain_db: float | None) -> Conditions | None:
    """Return conditions with a change of the processing gain added to theirs [dB]."""
    if gain_db is None:
        return conditions
    before = conditions or Conditions()
    update = {"power_change_db": before.power_change_db + gain_db}
    return Conditions.model_validate(before.model_dump() | update)
