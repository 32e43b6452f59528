"""What changed between two releases: data, arrays, splits and scores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from raymark.dataset.manifest import Manifest, read_manifest
from raymark.dataset.tables import read_csv, read_table
from raymark.release.part import SPLITS_FOLDER, SUMMARY_NAME
from raymark.release.record import Release, read_release
from raymark.storage import within

_KEYS = ["track", "shots", "scene", "band", "label", "model"]
_SCORES = ["mse_m2", "median_m", "p90_m"]
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs.

    Attributes:
        kind: Where to look.
        place: What differs.
        text: How.
    """

    kind: Literal["release", "campaign", "array", "split", "score", "file"]
    place: str
    text: str


def diff_releases(old: Path, new: Path) -> list[Difference]:
    """Return what changed from one release to another, from their records and tables.

    Raises:
        DatasetError: If a folder holds no release.
    """
    releases = read_release(old), read_release(new)
    manifests = read_manifest(old), read_manifest(new)
    return [
        *_release_differences(*releases),
        *_campaign_differences(*manifests),
        *_array_differences(*manifests),
        *_split_differences(old, new, *releases),
        *_score_differences(old, new, *releases),
        *_file_differences(*releases),
    ]


def _release_differences(old: Release, new: Release) -> Iterator[Difference]:
    ignored = {"files", "seal"}
    yield from _changed_values(
        "release",
        old.model_dump(mode="json", exclude=ignored),
        new.model_dump(mode="json", exclude=ignored),
    )


def _campaign_differences(old: Manifest, new: Manifest) -> Iterator[Difference]:
    campaigns = old.campaign.model_dump(mode="json"), new.campaign.model_dump(mode="json")
    yield from _changed_values("campaign", *campaigns)


def _changed_values(
    kind: Literal["release", "campaign"], old: Any, new: Any, place: str = ""
) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            below = f"{place}.{key}" if place else str(key)
            yield from _changed_values(kind, old.get(key), new.get(key), below)
    elif old != new:
        yield Difference(kind=kind, place=place, text=f"{_short(old)} -> {_short(new)}")


def _short(value: Any) -> str:
    if isinstance(value, list):
        names = [item.get("name", "...") if isinstance(item, dict) else item for item in value]
        return f"[{', '.join(map(str, names))}]"
    return "none" if value is None else str(value)


def _array_differences(old: Manifest, new: Manifest) -> Iterator[Difference]:
    for site in dict.fromkeys([*old.arrays, *new.arrays]):
        before, after = old.arrays.get(site), new.arrays.get(site)
        if before is None or after is None:
            yield Difference(
                kind="array", place=site, text="added" if before is None else "removed"
            )
            continue
        changed = [name for name in after if before.get(name) != after[name]]
        if changed:
            text = f"{len(changed)} of {len(after)} arrays changed: {', '.join(changed)}"
            yield Difference(kind="array", place=site, text=text)


def _split_differences(old: Path, new: Path, was: Release, now: Release) -> Iterator[Difference]:
    names = [n for n in dict.fromkeys([*was.files, *now.files]) if n.startswith(SPLITS_FOLDER)]
    for name in (n for n in names if n.endswith(".parquet")):
        if name not in was.files or name not in now.files:
            text = "removed" if name in was.files else "added"
            yield Difference(kind="split", place=name, text=text)
        elif was.files[name] != now.files[name]:
            merged = read_table(within(old, name)).merge(
                read_table(within(new, name)), on=["site", "ue_index"], how="outer", indicator=True
            )
            in_both = merged["_merge"] == "both"
            moved = int((in_both & (merged["part_x"] != merged["part_y"])).sum())
            text = f"{moved} links in another part, {int((~in_both).sum())} in one release only"
            yield Difference(kind="split", place=name, text=text)


def _score_differences(old: Path, new: Path, was: Release, now: Release) -> Iterator[Difference]:
    has = [SUMMARY_NAME in release.files for release in (was, now)]
    if has == [True, True]:
        tables = [read_csv(within(folder, SUMMARY_NAME))[_KEYS + _SCORES] for folder in (old, new)]
        merged = tables[0].merge(
            tables[1], on=_KEYS, how="outer", suffixes=("_old", "_new"), indicator=True
        )
        for row in merged.to_dict("records"):
            yield from _score_difference(row)
    elif any(has):
        yield Difference(kind="score", place="board", text="added" if has[1] else "removed")


def _score_difference(row: Mapping[Any, Any]) -> Iterator[Difference]:
    place = "/".join(str(row[key]) for key in _KEYS if not pd.isna(row[key]))
    if row["_merge"] != "both":
        text = "removed" if row["_merge"] == "left_only" else "added"
        yield Difference(kind="score", place=place, text=text)
        return
    pairs = {name: (row[f"{name}_old"], row[f"{name}_new"]) for name in _SCORES}
    if any(abs(new - old) > _ROUNDING * abs(old) for old, new in pairs.values()):
        text = ", ".join(f"{name} {old:.3g} -> {new:.3g}" for name, (old, new) in pairs.items())
        yield Difference(kind="score", place=place, text=text)


def _file_differences(old: Release, new: Release) -> Iterator[Difference]:
    for name in dict.fromkeys([*old.files, *new.files]):
        before, after = old.files.get(name), new.files.get(name)
        if before != after:
            text = "added" if before is None else "removed" if after is None else "changed"
            yield Difference(kind="file", place=name, text=text)
