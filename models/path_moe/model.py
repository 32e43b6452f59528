"""The mixtures of SCADF-MoE over the estimated paths of a trajectory alone."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """The mixtures of SCADF-MoE over the estimated paths of a trajectory alone."""
