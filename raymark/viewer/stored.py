"""Links of a finished dataset as a page shows them."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from raymark.dataset import Dataset
from raymark.dataset.hdf5 import read_names
from raymark.dataset.manifest import ShardRecord, SiteRecord
from raymark.dataset.schema import Arrays
from raymark.dataset.shard import open_shard
from raymark.errors import DatasetError
from raymark.radio.levels import to_db
from raymark.viewer.content import LinkPaths, join_links


def stored_links(
    dataset: Dataset, site: SiteRecord, band_index: int, wanted: Int[np.ndarray, "link"]
) -> tuple[LinkPaths, tuple[str, ...]]:
    """Return links of a site with their paths, strongest first at one band.

    Args:
        dataset: Holds them.
        site: One of its sites.
        band_index: Place of the band in `path/amplitude`.
        wanted: Numbers of the UEs, rising.

    Returns:
        The links, and the names of the materials that they count.

    Raises:
        DatasetError: If the files with the points of the paths are missing.
    """
    parts: list[LinkPaths] = []
    materials: tuple[str, ...] = ()
    for shard, rows in _rows_by_shard(dataset, site, wanted):
        materials = _materials(dataset, shard)
        arrays = dataset.load_shard(shard), dataset.load_shard(shard, "detail")
        parts.append(links_of_shard(*arrays, band_index, rows))
    return join_links(parts), materials


def links_of_shard(
    main: Arrays, detail: Arrays, band_index: int, rows: Int[np.ndarray, "row"]
) -> LinkPaths:
    """Return some links of a shard with their paths, strongest first at one band.

    Args:
        main: Arrays of its `paths` file.
        detail: Arrays of its `detail` file.
        band_index: Place of the band in `path/amplitude`.
        rows: Links, by their row.
    """
    offset = main["link/path_offset"]
    count = np.diff(offset)[rows]
    link = np.repeat(np.arange(len(rows)), count)
    first = np.cumsum(count) - count
    path = offset[rows][link] + np.arange(len(link)) - first[link]
    gain_db = to_db(np.abs(main["path/amplitude"][band_index, path].astype("c16")) ** 2)
    order = np.lexsort((-gain_db, link))  # stored in the order of the first band
    path = path[order]
    return LinkPaths(
        ue_index=main["ue/ue_index"][rows],
        position_m=main["ue/position_m"][rows],
        los=main["link/los"][rows],
        path_offset=np.concatenate([[0], np.cumsum(count)]).astype("i8"),
        delay_s=main["path/delay_s"][path],
        gain_db=gain_db[order],
        interaction=main["path/interaction"][path],
        vertex_m=detail["path/vertex_m"][path],
        material=detail["path/material"][path],
    )


def _rows_by_shard(
    dataset: Dataset, site: SiteRecord, wanted: Int[np.ndarray, "link"]
) -> Iterator[tuple[ShardRecord, Int[np.ndarray, "row"]]]:
    """Yield the shards that hold some of the UEs, in order, and their rows there."""
    shards = [s for s in dataset.manifest.shards if (s.scene, s.site) == (site.scene, site.site)]
    for shard in sorted(shards, key=lambda s: s.first_ue):
        rows = wanted - shard.first_ue
        rows = rows[(rows >= 0) & (rows < shard.num_ues)]
        if rows.size:
            yield shard, rows


def _materials(dataset: Dataset, shard: ShardRecord) -> tuple[str, ...]:
    path = dataset.folder.below(shard.file("detail"))
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing, and it holds the points of the paths; copy the folder `detail` of "
            "the dataset, too, or leave --data out to trace some links anew"
        )
    with open_shard(path, "detail") as file:
        return read_names(file, "materials", path)
