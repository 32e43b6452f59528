"""Paths that Sionna's own PathSolver has found, in our terms, read as fast as they can be."""

import numpy as np

from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.generator.tracing.backend import rt
from raymark.radio.frames import unit_vector


def read_sionna_paths(paths: rt.Paths) -> TracedPaths:
    """Convert the paths of one transmitter and any receivers, one band and a synthetic array.

    The response is that of the first antenna of both arrays. Objects, primitives and wedges are
    not carried over.
    """
    valid = paths.valid.numpy()[:, 0]
    ue_index, row = np.nonzero(valid)

    def pick(tensor: object) -> np.ndarray:
        return np.array(tensor.numpy())[:, 0][ue_index, row]  # type: ignore[attr-defined]

    interaction = paths.interactions.numpy()[:, ue_index, 0, row].T.astype("u1")
    vertex = np.moveaxis(paths.vertices.numpy()[:, ue_index, 0, row], 0, 1)
    real, imag = (part.numpy()[:, 0, 0, 0] for part in paths.a)
    amplitude = (real + 1j * imag)[ue_index, row]
    size, depth = interaction.shape
    return TracedPaths(
        ue_index=ue_index.astype("i8"),
        delay_s=pick(paths.tau),
        direction_bs=unit_vector(pick(paths.theta_t), pick(paths.phi_t)).astype("f4"),
        direction_ue=unit_vector(pick(paths.theta_r), pick(paths.phi_r)).astype("f4"),
        interaction=interaction,
        vertex_m=np.where((interaction > 0)[..., None], vertex, 0).astype("f4"),
        object_index=np.full((size, depth), -1, dtype="i2"),
        primitive=np.full((size, depth), -1, dtype="i4"),
        wedge=np.zeros((size, 13), dtype="f4"),
        amplitude=amplitude[None].astype("c8"),
    )
