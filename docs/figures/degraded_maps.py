"""Draw docs/figures/degraded_maps.png: outlines as they are, and as wrong maps have them.

Run it from anywhere: `python docs/figures/degraded_maps.py`. What is drawn is saved beside it as
`degraded_maps.geojson`.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raymark.plots import house_style, new_figure, save_figure
from raymark.radio import Site
from raymark.scenes import Scene, get_scene
from raymark.scenes.degrading import DegradeReport, get_grade
from raymark.scenes.degrading.degrade_scene import degrade_scene
from raymark.scenes.footprints import scene_buildings

TARGET = Path(__file__).with_name("degraded_maps.png")

SCENE, SEED = "munich", 2
GRADES = ("surveyed", "open")
AROUND_M = 70.0
"""Half the width of what is shown around the antenna."""
ARROW_M = 15.0
BLUE, RED, GREY = "#0072B2", "#D55E00", "#BBBBBB"


def outlines(scene: Scene) -> shapely.Geometry:
    """Return what the buildings of a scene cover around its first site; their borders are kept."""
    x, y, _ = get_scene(SCENE).sites[0].position_m
    window = shapely.box(x - AROUND_M, y - AROUND_M, x + AROUND_M, y + AROUND_M)
    footprints = [building.footprint for building in scene_buildings(scene, tolerance_m=1.0)]
    return shapely.intersection(shapely.union_all(footprints, grid_size=0.01), window)


@house_style()
def draw(truth: Scene, maps: dict[Scene, DegradeReport]) -> tuple[Figure, dict[str, str]]:
    """Return the figure, and all outlines as GeoJSON by the name of their map."""
    figure, axes = new_figure(1, len(maps), panel_inches=(5.2, 5.2))
    right = outlines(truth)
    drawn = {"exact": shapely.to_geojson(right)}
    for ax, (scene, report) in zip(axes, maps.items(), strict=True):
        wrong = outlines(scene)
        drawn[report.grade.name] = shapely.to_geojson(wrong)
        _fill(ax, right)
        _line(ax, wrong)
        _antenna(ax, truth.sites[0], BLUE, "antenna")
        _antenna(ax, scene.sites[0], RED, "antenna on the map")
        ax.set_title(
            f"{report.grade.name}: shifts {report.rms_shift_m:.1f} m and heights "
            f"{report.rms_height_m:.1f} m (rms),\n{report.num_missing} missing, "
            f"{report.num_merged} merged of {report.num_source_buildings} buildings"
        )
        ax.set(aspect="equal", xlabel="East x [m]", ylabel="North y [m]")
    axes[0].legend(loc="upper right")
    return figure, drawn


def _fill(ax: Axes, covered: shapely.Geometry) -> None:
    for number, part in enumerate(shapely.get_parts(covered).tolist()):
        label = "buildings" if number == 0 else None
        ax.fill(*np.array(part.exterior.coords).T, color=GREY, linewidth=0, label=label)
        for ring in part.interiors:
            ax.fill(*np.array(ring.coords).T, color="white", linewidth=0)


def _line(ax: Axes, covered: shapely.Geometry) -> None:
    for number, part in enumerate(shapely.get_parts(covered).tolist()):
        label = "map" if number == 0 else None
        for ring in (part.exterior, *part.interiors):
            ax.plot(*np.array(ring.coords).T, color=RED, linewidth=0.9, label=label)
            label = None


def _antenna(ax: Axes, site: Site, colour: str, label: str) -> None:
    (x, y, _), angle_rad = site.position_m, site.orientation_rad[0]
    way = ARROW_M * np.cos(angle_rad), ARROW_M * np.sin(angle_rad)
    ax.plot(x, y, "o", color=colour, markersize=4, label=label)
    ax.annotate(
        "", (x + way[0], y + way[1]), (x, y), arrowprops={"arrowstyle": "->", "color": colour}
    )


def main() -> None:
    """Degrade the scene, draw, and save the figure with its data."""
    truth = get_scene(SCENE)
    with tempfile.TemporaryDirectory(prefix="raymark-") as folder:
        maps = {}
        for name in GRADES:
            out = Path(folder) / name
            report = degrade_scene(truth, out, grade=get_grade(name), seed=SEED)
            maps[get_scene(str(out))] = report
        figure, drawn = draw(truth, maps)
    save_figure(figure, TARGET)
    data = {name: json.loads(text) for name, text in drawn.items()}
    TARGET.with_suffix(".geojson").write_text(json.dumps(data) + "\n", encoding="utf-8")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
