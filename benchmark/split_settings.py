"""How the links of a scene can be parted: settings of a track, one class for each kind of split."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from raymark.config import Strict

Windows = Literal["consecutive", "tracks", "clusters", "mixed-clusters"]

_ANY_LENGTH = 2**31


class BaseSplit(Strict):
    """What is asked of every way to part the links of a scene."""

    whole: ClassVar[tuple[Literal["track", "block"], ...]] = ("track",)
    """What must lie in one part as a whole."""

    windows: Windows = Field(
        default="consecutive",
        exclude_if=lambda value: value == "consecutive",
        description="What a window holds: consecutive measurements of a track, as many as the "
        "suite's window_size or, on sequence tracks alone, all of it (`tracks`); or neighbouring "
        "points, by true positions that nobody knows at run time, `clusters` of one part or "
        "`mixed-clusters` of all, so that training points stand among the tested ones",
    )

    unit: Literal["link", "ue"] = Field(
        default="link",
        exclude_if=lambda value: value == "link",
        description="What is parted: links, or, on multi-site tracks alone, UEs by how the first "
        "site of the scene sees them (`ue`); its links at the other sites go with each UE",
    )

    @model_validator(mode="after")
    def _ues_have_plain_windows(self) -> "BaseSplit":
        if self.unit == "ue" and self.windows != "consecutive":
            raise ValueError(f"a split of UEs needs windows: consecutive, got '{self.windows}'")
        return self

    @property
    def has_clusters(self) -> bool:
        """Whether windows hold neighbouring points in place of consecutive ones."""
        return self.windows in ("clusters", "mixed-clusters")

    def longest_window(self, window_size: int) -> int:
        """Return the most consecutive measurements of a window, of a suite's `window_size`."""
        return _ANY_LENGTH if self.windows == "tracks" else window_size

    @property
    def mixes_parts(self) -> bool:
        """Whether windows hold links of several parts."""
        return self.windows == "mixed-clusters"

    @property
    def gap_m(self) -> float:
        """Least distance of training and validation to the test [m]."""
        return 0.0

    @property
    def square_m(self) -> float:
        """Side of the blocks that are dealt, or else that confidence intervals draw [m]."""
        return 20.0

    @property
    def num_groups(self) -> int:
        """How many groups take turns as the `fold` that is tested; 0 where nothing takes turns."""
        return 0


class RandomTracks(BaseSplit):
    """Whole tracks are drawn for validation and test; nothing lies between them and training.

    A UE on no track is one of its own. With windows of `clusters` they are what is drawn.
    """

    kind: Literal["random-tracks"] = "random-tracks"
    validation_share: float = Field(default=0.1, gt=0, lt=0.5, description="Share of the tracks")
    test_share: float = Field(default=0.2, gt=0, lt=0.5, description="Share of the tracks")
    seed: int = Field(default=0, ge=0, description="Of the draw of tracks")


class CrossingTracks(BaseSplit):
    """Whole tracks that pass near training tracks; training points too close to them are dropped.

    A track can be drawn for test when at least half of its points have a point of another track
    within `reach_m`: it crosses an area that training covers.
    """

    kind: Literal["crossing-tracks"] = "crossing-tracks"
    validation_share: float = Field(default=0.1, gt=0, lt=0.5, description="Share of the tracks")
    test_share: float = Field(default=0.2, gt=0, lt=0.5, description="Share of the tracks")
    buffer_m: float = Field(default=2.0, gt=0, description="Least distance train to test [m]")
    reach_m: float = Field(
        default=15.0, gt=0, description="How near training a track for test must pass [m]"
    )
    seed: int = Field(default=0, ge=0, description="Of the draw of tracks")

    @model_validator(mode="after")
    def _has_tracks(self) -> "CrossingTracks":
        if self.has_clusters:
            raise ValueError(
                f"tracks cross, clusters do not: windows are consecutive, got '{self.windows}'"
            )
        return self

    @property
    def gap_m(self) -> float:
        """The buffer."""
        return self.buffer_m


class BlockSplit(BaseSplit):
    """What is asked of splits by square blocks, whose groups take turns as the fold."""

    block_m: float = Field(default=20.0, gt=0, description="Side of a block [m]")
    buffer_m: float = Field(default=5.0, gt=0, description="Least distance train to test [m]")
    num_folds: int = Field(default=5, ge=3, le=20, description="Groups of blocks")
    fold: int = Field(default=0, ge=0, description="Group that is tested; a suite's `folds` say it")

    @model_validator(mode="after")
    def _has_its_fold(self) -> "BlockSplit":
        if self.fold >= self.num_folds:
            raise ValueError(f"fold must be below num_folds ({self.num_folds}), got {self.fold}")
        return self

    @property
    def gap_m(self) -> float:
        """The buffer."""
        return self.buffer_m

    @property
    def square_m(self) -> float:
        """The blocks' own side."""
        return self.block_m

    @property
    def num_groups(self) -> int:
        """The number of folds."""
        return self.num_folds


class NlosBlocks(BlockSplit):
    """The NLOS links of whole square blocks are tested; folds hold different blocks.

    Blocks are dealt to `num_folds` groups of like size; fold f tests group f and validates on the
    next one. Nothing else inside those blocks is used, and nothing trains within `buffer_m` of a
    point that is tested or validated on.
    """

    whole: ClassVar[tuple[Literal["track", "block"], ...]] = ("block",)

    kind: Literal["nlos-blocks"] = "nlos-blocks"
    seed: int = Field(default=0, ge=0, description="Of the deal of blocks to groups")

    @model_validator(mode="after")
    def _is_of_whole_blocks(self) -> "NlosBlocks":
        if self.windows == "mixed-clusters":
            raise ValueError("windows of whole blocks hold one part; use clusters or consecutive")
        return self


class TrackBlocks(BlockSplit):
    """Whole tracks pass through square blocks in which nothing trains.

    Tracks are drawn for validation and test, the same ones in every fold; blocks are dealt to
    `num_folds` groups of like size. Fold f tests the points of test tracks that lie in group f, so
    that all folds test every point once; all other points of these tracks are handed out, too, and
    not scored. It validates on the points of validation tracks in the next group. Nothing trains in
    either group, nor within `buffer_m` of a point that is tested or validated on.
    """

    whole: ClassVar[tuple[Literal["track", "block"], ...]] = ("track", "block")

    kind: Literal["track-blocks"] = "track-blocks"
    validation_share: float = Field(default=0.2, gt=0, lt=0.5, description="Share of the tracks")
    test_share: float = Field(default=0.2, gt=0, lt=0.5, description="Share of the tracks")
    seed: int = Field(default=0, ge=0, description="Of the draw of tracks and the deal of blocks")

    @model_validator(mode="after")
    def _is_of_whole_tracks(self) -> "TrackBlocks":
        if self.windows != "tracks":
            raise ValueError(f"whole tracks need windows: tracks, got '{self.windows}'")
        return self


SplitSettings = Annotated[
    RandomTracks | CrossingTracks | NlosBlocks | TrackBlocks, Field(discriminator="kind")
]
