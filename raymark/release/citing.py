"""What whoever uses a dataset has to cite, as BibTeX: it, its scenes, and the programs."""

import re
from collections.abc import Iterable, Mapping

from raymark.config import read_sealed
from raymark.dataset import Dataset
from raymark.dataset.manifest import SiteRecord
from raymark.release.citation import SIONNA_RT_URL, bibtex, latex
from raymark.release.provenance import source_urls
from raymark.release.record import RELEASE_NAME, Release
from raymark.release.statements import is_traced

RAYMARK = "raymark"


def dataset_works(dataset: Dataset, release: Release | None) -> list[str]:
    """Return a BibTeX entry for a dataset, each of its scenes, and each program that made it.

    Args:
        dataset: The dataset.
        release: Its record, if it was published.
    """
    manifest = dataset.manifest
    scenes = {site.scene: site for site in manifest.sites}
    source = manifest.campaign.sampling.imported_from
    works = [_unpublished(dataset) if release is None else bibtex(release)]
    works += [_scene(site) for site in scenes.values()]
    works.append(program(RAYMARK, manifest.software[RAYMARK], author="{The raymark authors}"))
    if is_traced(manifest):
        version = manifest.software["sionna-rt"]
        author = "Hoydis, Jakob and others"
        works.append(program("Sionna RT", version, author=author, url=SIONNA_RT_URL))
    elif source is not None:
        works.append(entry_of("misc", source, {"title": f"{{{latex(source)}}}"}))
    return works


def program(name: str, version: str | None, *, author: str, url: str | None = None) -> str:
    """Return the entry of a program.

    Args:
        name: What it is called.
        version: Which of it was used, if that is known.
        author: As BibTeX takes it.
        url: Where it is.
    """
    fields = {
        "author": author,
        "title": f"{{{latex(name)}}}",
        "version": version and latex(version),
        "url": url,
    }
    return entry_of("misc", name, fields)


def each_once(works: Iterable[str]) -> list[str]:
    """Return entries without those whose key an earlier one has."""
    found: dict[str, str] = {}
    for work in works:
        found.setdefault(work.partition(",")[0].partition("{")[2], work)
    return list(found.values())


def release_in(dataset: Dataset) -> Release | None:
    """Return the record of a release that a dataset lies in, here or elsewhere; None if it is none.

    Raises:
        ConfigError: If the record cannot be read.
        SchemaError: If it was edited.
    """
    record = dataset.folder.below(RELEASE_NAME)
    if not record.is_file():
        return None
    return read_sealed(Release, record.read_text(), where=str(record))


def entry_of(kind: str, key: str, fields: Mapping[str, str | None]) -> str:
    """Return a BibTeX entry.

    Args:
        kind: Such as `misc`.
        key: What its key is made of: letters, digits and hyphens stay.
        fields: Values that BibTeX takes, by name; those that are None or empty are left out.
    """
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return f"@{kind}{{{_key(key)},\n" + ",\n".join(lines) + "\n}"


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "untitled"


def _unpublished(dataset: Dataset) -> str:
    manifest = dataset.manifest
    note = f"Dataset, not published as it is; content hash {str(manifest.content_hash)[:12]}"
    if manifest.subset_of is not None:
        note += f"; a part of the one with content hash {manifest.subset_of[:12]}"
    fields = {
        "title": f"{{{latex(manifest.campaign.name)}}}",
        "year": str(manifest.generation.get("finished_on", ""))[:4],
        "note": note,
    }
    return entry_of("misc", manifest.id, fields)


def _scene(site: SiteRecord) -> str:
    urls = source_urls(site)
    fields = {
        "title": f"{{Scene {latex(site.scene)}}}",
        "note": f"{latex(site.attribution)}; {latex(site.licence)}; hash {site.scene_hash[:12]}",
        "url": urls[0] if urls else None,
    }
    return entry_of("misc", f"scene {site.scene}", fields)
