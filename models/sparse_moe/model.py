"""The trajectory transformer with sparse mixtures of experts."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """The trajectory transformer with sparse mixtures of experts."""
