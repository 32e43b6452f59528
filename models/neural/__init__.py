"""What the models on torch share: inputs, building blocks, one training loop."""

RECIPE_VERSION = 1
"""Raised when this code changes what a model learns, so that models are run anew."""
