"""The trajectory transformer with a multi-gate mixture of experts as head."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """The trajectory transformer with a multi-gate mixture of experts as head."""
