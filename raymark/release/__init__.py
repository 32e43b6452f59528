"""Publishing: a release of a dataset is built, verified, compared, previewed and cut down."""

from raymark.release.build import BuildSettings, build_release
from raymark.release.diff import Difference, diff_releases
from raymark.release.preview import card_page
from raymark.release.record import About, Release, read_about, read_release
from raymark.release.subset import Cut, cut_dataset
from raymark.release.verify import Level, verify_release

__all__ = [
    "About",
    "BuildSettings",
    "Cut",
    "Difference",
    "Level",
    "Release",
    "build_release",
    "card_page",
    "cut_dataset",
    "diff_releases",
    "read_about",
    "read_release",
    "verify_release",
]
