"""SCADF-MoE as it deserves on the paper's own kind of data: dense points, a schedule in steps."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """SCADF-MoE on the paper's modalities alone, trained for gradient steps, not for epochs."""
