"""The control of path_moe: the same trajectory and paths, without mixtures of experts."""

from raymark.models.scadf_moe.model import Model as ScadfMoe


class Model(ScadfMoe):
    """The control of path_moe: the same trajectory and paths, without mixtures of experts."""
