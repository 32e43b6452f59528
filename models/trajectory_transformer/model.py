"""The decisive control: the same trajectory and encoders, without mixtures of experts."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """The decisive control: the same trajectory and encoders, without mixtures of experts."""
