"""Fusion by one MLP over all tokens of a trajectory."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """Fusion by one MLP over all tokens of a trajectory."""
