"""Draw docs/figures/landing.png: a city, a base station, and the traced paths of a few UEs.

Run it from anywhere: `python docs/figures/landing.py`. The paths that are drawn are saved beside it
as `landing.json`.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from raymark.dataset.schema import DIFFRACTION, LOS, NLOS
from raymark.generator.viewer import ViewChoice, view_scene
from raymark.plots import house_style, new_figure, save_figure
from raymark.scenes import get_scene
from raymark.viewer import LinkPaths, SceneView

TARGET = Path(__file__).with_name("landing.png")
DATA = TARGET.with_suffix(".json")

SCENE, BAND, SEED = "munich", "6GHz", 3
NUM_TRACED, NUM_UES_PER_LABEL, PATHS_PER_UE, RANGE_M = 40, 2, 7, 150.0
FACING_DEG, ELEVATION_DEG = 152.0, 38.0
"""Where the one who looks looks to, from east, anticlockwise, and how far down."""
MARGIN_M = ((-125.0, 95.0), (-26.0, 22.0))
"""What the picture shows beyond the paths: left and right, below and above."""
LIGHT = np.array([0.35, -0.75, 0.6]) / np.linalg.norm([0.35, -0.75, 0.6])

GROUND, WALL = np.array([0.96, 0.96, 0.95]), np.array([0.84, 0.87, 0.92])
STYLES = {
    "line of sight": ("#0072B2", 2.2),
    "reflected": ("#D55E00", 1.2),
    "diffracted": ("#009E73", 1.2),
}


def project(point_m: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Return right, up, and away from the one who looks, in parallel projection [m]."""
    facing, down = np.deg2rad([FACING_DEG, ELEVATION_DEG])
    right = [np.sin(facing), -np.cos(facing), 0.0]
    ahead = [np.cos(facing) * np.cos(down), np.sin(facing) * np.cos(down), -np.sin(down)]
    return point_m @ np.stack([right, np.cross(right, ahead), ahead], axis=1)


def path_lines(view: SceneView) -> Iterator[dict[str, Any]]:
    """Yield the strongest paths of the UEs with the most of them, as they are drawn and saved."""
    site = view.sites[0]
    links = site.links
    count = np.diff(links.path_offset)
    near = np.linalg.norm(links.position_m - site.position_m, axis=1) < RANGE_M
    most = np.argsort(-np.where(near, count, 0), kind="stable")
    for link in (
        i for label in (LOS, NLOS) for i in most[links.los[most] == label][:NUM_UES_PER_LABEL]
    ):
        first = links.path_offset[link]
        for path in range(first, first + min(count[link], PATHS_PER_UE)):
            bends = links.vertex_m[path][links.interaction[path] > 0]
            yield {
                "ue": int(links.ue_index[link]),
                "kind": _kind(links, path),
                "gain_db": round(float(links.gain_db[path]), 2),
                "point_m": np.vstack([site.position_m, bends, links.position_m[link]])
                .round(2)
                .tolist(),
            }


def _kind(links: LinkPaths, path: int) -> str:
    codes = links.interaction[path][links.interaction[path] > 0]
    if len(codes) == 0:
        return "line of sight"
    return "diffracted" if (codes == DIFFRACTION).any() else "reflected"


@house_style()
def draw(view: SceneView, paths: list[dict[str, Any]]) -> Figure:
    """Return the figure: triangles from far to near, then the paths."""
    figure, (ax,) = new_figure(panel_inches=(8.4, 4.2))
    ends_m = np.array([path["point_m"][i] for path in paths for i in (0, -1)])
    bends = project(np.vstack([path["point_m"] for path in paths]))[:, :2]
    _draw_city(ax, view)
    for kind, (color, width) in STYLES.items():
        for path in (path for path in paths if path["kind"] == kind):
            ax.plot(*project(np.array(path["point_m"]))[:, :2].T, color=color, lw=width, alpha=0.85)
        ax.plot([], [], color=color, lw=width, label=kind)
    ax.plot(*project(ends_m[1::2])[:, :2].T, "o", color="black", ms=5, label="user (UE)")
    ax.plot(*project(ends_m[:1])[:, :2].T, "^", color="#CC79A7", mec="black", ms=11, label="site")
    limits = np.stack([bends.min(axis=0), bends.max(axis=0)], axis=1) + MARGIN_M
    ax.set(aspect="equal", xlim=limits[0], ylim=limits[1])
    ax.set_axis_off()
    ax.legend(loc="lower center", ncols=5, frameon=True, framealpha=0.9, edgecolor="none")
    return figure


def _draw_city(ax: Axes, view: SceneView) -> None:
    corner_m, is_ground = view.triangles.corner_m, view.triangles.is_ground
    normal = np.cross(corner_m[:, 1] - corner_m[:, 0], corner_m[:, 2] - corner_m[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    shade = 0.7 + 0.3 * np.abs(normal @ LIGHT)
    color = np.where(is_ground[:, None], GROUND, WALL * shade[:, None])
    seen = project(corner_m)
    # The ground lies under all, and its triangles are too large to be sorted by their middles.
    order = np.lexsort((-seen[..., 2].mean(axis=1), ~is_ground))
    shown = PolyCollection(
        list(seen[order, :, :2]), facecolors=color[order], edgecolors=color[order], linewidths=0.3
    )
    ax.add_collection(shown)


def main() -> None:
    """Trace the links, save their paths and draw them."""
    choice = ViewChoice(band=BAND, num_links=NUM_TRACED, seed=SEED)
    with tempfile.TemporaryDirectory() as folder:
        view = view_scene(get_scene(SCENE), Path(folder) / "page.html", choice)
    paths = list(path_lines(view))
    DATA.write_text("".join(f"{json.dumps(path)}\n" for path in paths), encoding="utf-8")
    save_figure(draw(view, paths), TARGET)
    print(f"wrote {TARGET} ({TARGET.stat().st_size / 1e3:.0f} kB), {len(paths)} paths")


if __name__ == "__main__":
    main()
