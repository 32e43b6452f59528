"""The choices that a fingerprint leaves open, by their names in files and on the command line."""

from typing import Literal

FingerprintKind = Literal["measured", "oracle"]
"""Estimated from noisy CSI, or the ray tracer's own values."""

LatePaths = Literal["left_out", "aliased"]
"""What becomes of a path whose delay wraps around the grid of tones, where CSI is made."""

ProfileMethod = Literal["bartlett", "capon", "music"]
"""Estimator of a measured angle-of-arrival profile."""
