"""ResNet on the CFR of one link."""

from raymark.models.neural.single_link import ResNetLocalizer


class Model(ResNetLocalizer):
    """A ResNet on the CFR."""
