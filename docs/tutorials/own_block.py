# %% [markdown]
# # Your own city block, from a map
#
# A map of buildings becomes a scene, the scene a dataset. Any GeoJSON, OpenStreetMap, CityJSON or
# GeoParquet file does; here six buildings are written down, so that nothing has to be downloaded.
# [A new scene, from a map to a number](../new_scene.md) does the same by commands, and has all that
# the import knows of maps.
#
# ## A map

# %%
import json
from pathlib import Path


def building(x_m, y_m, width_m, depth_m, **tags):
    """Return a rectangle near Munich, from metres to degrees, as a map has it."""
    corners = [(0, 0), (width_m, 0), (width_m, depth_m), (0, depth_m), (0, 0)]
    ring = [[11.57 + (x_m + x) / 74_550, 48.14 + (y_m + y) / 111_200] for x, y in corners]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"building": "yes", **tags}, "geometry": geometry}


buildings = [
    building(-80, -60, 50, 30, height="21"),
    building(-80, 10, 20, 60, height="18", **{"building:material": "brick"}),
    building(-40, 40, 60, 30, **{"building:levels": "5"}),
    building(-10, -60, 40, 40, height="24", **{"building:material": "glass"}),
    building(50, -60, 30, 60, **{"building:levels": "4"}),
    building(50, 20, 30, 50),
]
block = {"type": "FeatureCollection", "features": buildings}
_ = Path("block.geojson").write_text(json.dumps(block))

# %% [markdown]
# ## A scene

# %%
from raymark.scenes.importing import ImportOptions, import_scene

report = import_scene(Path("block.geojson"), name="block", out=Path(), options=ImportOptions())
print(report.num_buildings, "buildings of", ", ".join(report.materials))
print("heights by source:", report.height_sources)
for finding in report.findings:
    print(finding.count, finding.action, "-", finding.reason)

# %% [markdown]
# The folder `block` is a scene as any other. What was assumed is told: a height that the map does
# not know was drawn around 9 m, as the map knows too few others.
#
# It needs a place for the base station. Roof edges and masts are ranked by what they cover, and by
# a fair share of places without line of sight (NLOS), without which there is nothing to learn.

# %%
from raymark.generator.site_candidates import SitingSettings
from raymark.generator.site_writing import add_sites, plot_proposals
from raymark.generator.siting import propose_sites
from raymark.scenes import get_scene

scene = get_scene("block")
plan = propose_sites(scene, SitingSettings(range_m=120))
added = add_sites(scene, plan, 1)
print("added", *(site.name for site in added))

# %%
plot_proposals(scene, plan)

# %% [markdown]
# ## A dataset
#
# The scene's name stands in a campaign as any other. Users walk on tracks within 120 m.

# %%
import raymark
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate_dataset
from raymark.progress import progress_bars

campaign = Campaign(
    name="block",
    scenes=["block"],
    bands=["3.5GHz", "28GHz"],
    sampling={"kind": "tracks", "num_ues": 300, "max_range_m": 120},
    tracer={"max_depth": 3, "diffraction": True, "weld_edges": True, "discovery": "quick"},
)
with progress_bars("UEs") as progress:
    generate_dataset(campaign, "block-data", progress=progress)
dataset = raymark.open_dataset("block-data")
dataset.summary().round(2)

# %%
dataset.select(scene="block", band="28GHz").plot_coverage_map()

# %% [markdown]
# ## Where real maps are wrong
#
# A scene is degraded as maps of that quality are: heights, outlines, materials and the antenna's
# place. [The map lane](map_lane.md) makes use of that.

# %%
from raymark.scenes.degrading import get_grade
from raymark.scenes.degrading.degrade_scene import degrade_scene

wrong = degrade_scene(get_scene("block"), Path("block-open"), grade=get_grade("open"), seed=1)
print(
    f"{wrong.num_moved} of {wrong.num_buildings} buildings shifted, rms {wrong.rms_shift_m:.1f} m"
)
