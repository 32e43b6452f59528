"""Write fingerprints as arrays, for people who want files instead of a loader."""

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from raymark.dataset import Dataset, Selection
from raymark.dataset.hdf5 import new_hdf5
from raymark.dataset.schema import SCHEMA_VERSION, FieldSpec, check_arrays, fields_of
from raymark.errors import DatasetError
from raymark.radio import FingerprintKind, ProfileMethod
from raymark.radio.fingerprints import Fingerprints, azimuth_bins
from raymark.storage import PlaceLike, as_place, file_sha256, require_file

BATCH_SIZE = 256
"""Links per draw of noise; fixed, so that the same seed always gives the same file."""


def materialize(  # noqa: PLR0913 - the choices of the command line
    dataset: Dataset,
    path: PlaceLike,
    *,
    scene: str,
    band: str,
    kind: FingerprintKind = "measured",
    method: ProfileMethod = "bartlett",
    site: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda _count: None,
) -> str:
    """Write the fingerprints of one scene at one band to an HDF5 file, in bounded memory.

    The noise depends on the seed (that of the campaign if none is given), scene, site and band.

    Returns:
        SHA-256 (hex) of the file; the same for the same arguments.

    Raises:
        DatasetError: If the file exists (unless `overwrite`), or cannot be written.
    """
    target = as_place(path)
    if target.local_path is not None:
        require_file(target.local_path, overwrite=overwrite)
    elif target.exists() and not overwrite:
        raise DatasetError(f"{path} exists; choose another name or add --overwrite")
    selection = dataset.select(scene=scene, band=band, site=site)
    seed = dataset.manifest.campaign.seed if seed is None else seed
    attributes = {
        "schema_version": SCHEMA_VERSION,
        "kind": "fingerprints",
        "fingerprint_kind": kind,
        "profile_method": method if kind == "measured" else "path powers",
        "dataset_id": dataset.manifest.id,
        "content_hash": dataset.manifest.content_hash or "",
        "scene": scene,
        "sites": [record.site for record in selection.sites],
        "band": selection.band.name,
        "carrier_hz": selection.band.carrier_hz,
        "seed": seed,
    }
    with target.writing() as partial:
        with new_hdf5(partial) as (file, disk):
            file.attrs.update(attributes)
            for rows, arrays in fingerprint_batches(selection, kind, method, seed):
                _append(file, arrays, rows, len(selection))
                disk.require_written()
                progress(rows.stop - rows.start)
        return file_sha256(partial)


def fingerprint_batches(
    selection: Selection, kind: FingerprintKind, method: ProfileMethod, seed: int
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Make what a file of fingerprints holds, batch by batch.

    Yields:
        The rows of the batch, and its arrays by their names in the schema.
    """
    for start, stop in selection.ranges(BATCH_SIZE):
        generator = selection.batch_noise_generator(start, seed)
        values = selection.fingerprints(start, stop, kind=kind, generator=generator, method=method)
        rows = slice(start, stop)
        arrays = _as_arrays(selection, values, rows)
        check_arrays("fingerprints", arrays, where=f"links {start}:{stop}")
        yield rows, arrays


def _as_arrays(selection: Selection, values: Fingerprints, rows: slice) -> dict[str, np.ndarray]:
    return {
        "ue/position_m": selection.position_m[rows],
        "ue/ue_index": selection.ue_index[rows],
        "ue/site_index": selection.site_index[rows].astype("i2"),
        "link/los": selection.los[rows],
        "csi": values.csi.numpy(),
        "aoa_profile": values.aoa_profile.numpy(),
        "distance_m": values.distance_m.numpy(),
        "gain_db": values.gain_db.numpy(),
        "has_signal": values.has_signal.numpy(),
    }


def _append(file: h5py.File, arrays: dict[str, np.ndarray], rows: slice, num_links: int) -> None:
    for field in fields_of("fingerprints"):
        array = arrays[field.name]
        if field.name not in file:
            _create(file, field, array, num_links)
        file[field.name][rows] = array


def _create(file: h5py.File, field: FieldSpec, array: np.ndarray, num_links: int) -> None:
    dtype: Any = h5py.complex_compat_dtype(array.dtype) if array.dtype.kind == "c" else array.dtype
    # Noise does not compress; the checksum is what the filters are for.
    dataset = file.create_dataset(
        field.name,
        shape=(num_links, *array.shape[1:]),
        dtype=dtype,
        chunks=(min(num_links, 32), *array.shape[1:]),
        fletcher32=True,
    )
    dataset.attrs.update({"unit": field.unit, "axes": list(field.axes)})
    dataset.attrs["description"] = field.description
    if field.name == "aoa_profile":
        dataset.attrs["azimuth_rad"] = azimuth_bins().numpy()
