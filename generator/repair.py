"""Make lost and damaged files of a finished dataset again; its manifest stays as it is.

The content of a shard is a function of scene, settings and positions, so that a file which is made
again has the hash that the manifest says, or is not taken.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.buildings import buildings_file
from raymark.dataset.manifest import (
    INDEX_NAME,
    Manifest,
    SiteRecord,
    data_files,
    kept_kinds,
)
from raymark.dataset.writing.finish import texts_of, write_index
from raymark.dataset.writing.folder import changed_software
from raymark.errors import DatasetError
from raymark.generator.plan import ShardPlan, make_plan
from raymark.generator.planned import PlannedDataset, plan_here
from raymark.generator.site_work import Part, make_part
from raymark.generator.software import tracing_software
from raymark.storage import Place, PlaceLike, as_place

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is."""


def repair_dataset(
    folder: PlaceLike, *, progress: Progress = lambda _stage, _done, _total: None
) -> list[str]:
    """Make every file again that is missing or differs from the manifest, on this machine.

    Args:
        folder: A finished dataset.
        progress: Told how many files are checked, scenes are loaded and files are made.

    Returns:
        The names of the files that were made.

    Raises:
        DatasetError: If the dataset is not finished, was cut or imported instead of traced, or was
            made of another version of a scene; or if a file comes out otherwise than the manifest
            says, which is then left as it is.
        SceneError: If a scene cannot be used.
    """
    dataset = open_dataset(folder)
    with dataset.folder.locked():
        damaged = _damaged_files(dataset, progress)
        if damaged:
            _repair(dataset, damaged, progress)
    return damaged


def _files(manifest: Manifest) -> dict[str, str | None]:
    return {**data_files(manifest), **manifest.documents}


def _damaged_files(dataset: Dataset, progress: Progress) -> list[str]:
    damaged, files = [], _files(dataset.manifest)
    for i, (name, sha256) in enumerate(files.items(), start=1):
        file = dataset.folder.below(name)
        file.forget_copies()
        if not file.is_file() or file.sha256() != sha256:
            damaged.append(name)
        progress("check", i, len(files))
    return damaged


def _repair(dataset: Dataset, damaged: list[str], progress: Progress) -> None:
    """Make files in a folder of their own; each is put in its place if it is what it was."""
    num_made = 0
    with tempfile.TemporaryDirectory() as workspace:
        made_in = as_place(Path(workspace))
        for names in _made_again(dataset, set(damaged), made_in, progress):
            _put(dataset, made_in, names)
            num_made += len(names)
            progress("repair", num_made, len(damaged))


def _made_again(
    dataset: Dataset, damaged: set[str], made_in: Place, progress: Progress
) -> Iterator[list[str]]:
    """Make damaged files below another folder; yield the names of those that are made at once."""
    manifest, texts = dataset.manifest, texts_of(dataset.manifest)
    if damaged - {INDEX_NAME, *texts}:
        planned = _plan_again(dataset, progress)
        for site, part, names in _parts_of(manifest, damaged):
            make_part(planned.work_on(made_in, manifest, site), part)
            yield names
    if INDEX_NAME in damaged:  # of shards that are whole by now
        write_index(dataset.folder, manifest, manifest.shards, made_in / INDEX_NAME)
        yield [INDEX_NAME]
    for name in [name for name in texts if name in damaged]:
        (made_in / name).write_text(texts[name])
        yield [name]


def _plan_again(dataset: Dataset, progress: Progress) -> PlannedDataset:
    """Return the plan of a dataset that was traced.

    Raises:
        DatasetError: If it was not, or of other scenes than there are now.
    """
    manifest, folder = dataset.manifest, dataset.folder
    if manifest.subset_of is not None:
        raise DatasetError(f"{folder} was cut from another dataset; cut it again")
    if manifest.campaign.sampling.imported_from is not None:
        raise DatasetError(f"{folder} was imported, not traced; import it again")
    planned = plan_here(
        make_plan(manifest.campaign, progress=progress), shard_size=manifest.shard_size
    )
    if planned.manifest.config_hash != manifest.config_hash:
        raise DatasetError(
            f"{folder} was made of other versions of its scenes than there are now; take the files "
            "from where the dataset came from, or go back to those versions"
        )
    return planned


def _parts_of(
    manifest: Manifest, damaged: set[str]
) -> Iterator[tuple[SiteRecord, Part, list[str]]]:
    """Yield what is made in one piece, with the names of its damaged files."""
    sites = {site.key: site for site in manifest.sites}
    for record in manifest.shards:
        files = [record.file(kind) for kind in kept_kinds(manifest)]
        names = [name for name in files if name in damaged]
        if names:
            shard = ShardPlan(part=record.part, first_ue=record.first_ue, num_ues=record.num_ues)
            yield sites[record.key], shard, names
    for scene in manifest.buildings:
        if buildings_file(scene) in damaged:
            site = next(site for site in manifest.sites if site.scene == scene)
            yield site, "buildings", [buildings_file(scene)]


def _put(dataset: Dataset, made_in: Place, names: Iterable[str]) -> None:
    """Put files that were made again in their places.

    Raises:
        DatasetError: If one differs from the manifest.
    """
    expected = _files(dataset.manifest)
    for name in names:
        if (made_in / name).sha256() != expected[name]:
            changed = changed_software(dataset.manifest, tracing_software())
            why = f"it was made with {changed}" if changed else "another processor rounds otherwise"
            raise DatasetError(
                f"{dataset.folder / name} comes out otherwise on this machine ({why}); take the "
                "file from where the dataset came from, or generate the dataset anew"
            )
    for name in names:
        place = dataset.folder.below(name)
        with (made_in / name).local_copy() as copy, place.writing() as partial:
            shutil.copyfile(copy, partial)
