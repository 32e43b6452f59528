"""Publishing: a release of a dataset is built, verified, compared and previewed."""

from raymark.release.build import BuildSettings, build_release
from raymark.release.diff import Difference, diff_releases
from raymark.release.preview import card_page
from raymark.release.record import About, Release, read_about, read_release
from raymark.release.verify import Level, unproven_parts, verify_release

__all__ = [
    "About",
    "BuildSettings",
    "Difference",
    "Level",
    "Release",
    "build_release",
    "card_page",
    "diff_releases",
    "read_about",
    "read_release",
    "unproven_parts",
    "verify_release",
]
