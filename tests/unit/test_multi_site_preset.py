"""The sites of the preset `multi-site`: each sees its share of its sector, by rays alone."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from raymark.dataset.campaign import Campaign
from raymark.dataset.samplings import UniformSampling
from raymark.generator.outdoors import check_site
from raymark.generator.plan import check_campaign, load_campaign
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import FrontEnd, Site
from raymark.scenes import get_scene

NUM_POINTS = 300
LEAST_LOS_SHARE, MOST_LOS_SHARE = 0.3, 0.95
SCENES = ("munich", "etoile", "florence")


@cache
def loaded(name: str) -> LoadedScene:
    with tempfile.TemporaryDirectory() as folder:
        return LoadedScene(get_scene(name).xml_path(Path(folder)), FrontEnd())


def campaign() -> Campaign:
    return load_campaign("multi-site")


def sites_of(scene: str) -> tuple[Site, ...]:
    return {item.name: sites for item, sites in check_campaign(campaign())}[scene]


def los_share(scene: str, site: Site) -> float:
    """Return the share of a site's sector that it sees, and refuse a site that sees too little."""
    check_site(loaded(scene), site, scene=scene)
    sampling = campaign().sampling
    points = UniformSampling(num_ues=NUM_POINTS, max_range_m=sampling.max_range_m)
    position_m = sample_ues(points, loaded(scene), site, seed=0, scene=scene).position_m
    start_m = np.tile(np.array(site.position_m), (NUM_POINTS, 1))
    share = float(loaded(scene).is_visible(start_m, position_m.astype("f8")).mean())
    if not LEAST_LOS_SHARE <= share <= MOST_LOS_SHARE:
        raise AssertionError(f"site {scene}/{site.name} sees {share:.0%} of its sector")
    return share


def test_preset_has_sites_that_share_ues_when_read() -> None:
    assert campaign().sites_share_ues
    assert tuple(scene.name for scene in campaign().scenes) == SCENES
    for name in SCENES:
        sites = sites_of(name)
        assert [site.name for site in sites] == ["bs0", "bs1", "bs2"]
        # The first is the scene's own, whose file and hash know nothing of the others.
        assert sites[0] == get_scene(name).site("bs0")
        assert len(get_scene(name).sites) == 1


@pytest.mark.parametrize("scene", SCENES)
def test_every_site_of_the_preset_sees_its_share_of_its_sector(scene: str) -> None:
    for site in sites_of(scene):
        assert los_share(scene, site) > 0


def test_badly_placed_site_is_refused_when_its_share_is_measured() -> None:
    site = sites_of("etoile")[1]
    # On a roof, turned back over its own building, which hides the streets.
    blind = site.model_copy(update={"position_m": (-11.1, -57.9, 20.8), "azimuth_deg": -150.0})

    with pytest.raises(AssertionError, match=r"site etoile/bs1 sees \d+% of its sector"):
        los_share("etoile", blind)
