"""SCADF-MoE with the estimated paths as a fifth modality, which is ours."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """SCADF-MoE with the estimated paths as a fifth modality, which is ours."""
