"""Suffixes of diffracted paths: which planes the rays meet that leave an edge on a Keller cone."""

import numpy as np
from jaxtyping import Float, Int

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.chains import ChainTable, discover
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.prefixes import Prefixes, edge_samples
from raymark.generator.tracing.tables import Wedges

_GOLDEN = (np.sqrt(5) - 1) / 2


def find_suffixes(
    scene: LoadedScene,
    prefixes: Prefixes,
    num_bounces: int,
    discovery: Discovery,
    *,
    turn: float,
) -> list[ChainTable]:
    """Return the chains that fans of rays on the Keller cones meet, by length."""
    wedges = scene.wedges
    num_samples = prefixes.sees.shape[1]
    on_edge, off_edge = edge_samples(wedges, prefixes.wedge, num_samples, turn=turn)
    row, sample = np.nonzero(prefixes.sees)
    wedge = prefixes.wedge[row]
    incoming = on_edge[row, sample] - prefixes.image_m[row, -1]
    incoming /= np.linalg.norm(incoming, axis=1)[:, None]
    cosine = np.einsum("ij,ij->i", incoming, wedges.direction[wedge])
    fan = _cone(wedges, wedge, cosine, discovery.cone_rays, shift=turn)
    open_0 = np.einsum("ijk,ik->ij", fan, wedges.normal_0[wedge]) > 1e-4
    open_n = np.einsum("ijk,ik->ij", fan, wedges.normal_n[wedge]) > 1e-4
    i, j = np.nonzero(open_0 | open_n)
    bounces = discover(scene, off_edge[row[i], sample[i]], fan[i, j], row[i], num_bounces)
    return [bounce.chains for bounce in bounces]


def _cone(
    wedges: Wedges,
    wedge: Int[np.ndarray, "n"],
    cosine: Float[np.ndarray, "n"],
    num_rays: int,
    *,
    shift: float,
) -> Float[np.ndarray, "n ray 3"]:
    """Return directions on the cones around edges whose angle to the edge is that of incidence.

    The fans of neighbouring points are turned against each other, so that together they are dense.
    """
    direction, first = wedges.direction[wedge], wedges.normal_0[wedge]
    second = np.cross(direction, first)
    turn = (np.arange(len(wedge)) * _GOLDEN % 1.0)[:, None] + np.arange(num_rays) + (0.5 + shift)
    angle = (2 * np.pi / num_rays * turn)[..., None]
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))[:, None, None]
    around = np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None]
    return cosine[:, None, None] * direction[:, None] + sine * around
