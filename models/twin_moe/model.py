"""A soft mixture of what a map, the window and regressions say of a link."""

from raymark.models.twin.moe_localizer import MixtureLocalizer


class Model(MixtureLocalizer):
    """Densities over positions, weighed link by link."""
