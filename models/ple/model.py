"""The trajectory transformer with progressive layered extraction as head."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """The trajectory transformer with progressive layered extraction as head."""
