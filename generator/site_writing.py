"""Keep proposed sites: draw them, and add them to the `scene.yaml` of a user's scene."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.axes import Axes

from raymark import plots
from raymark.config import read_yaml, validate
from raymark.dataset.samplings import UniformSampling
from raymark.errors import ConfigError, SceneError
from raymark.generator.outdoors import RayCaster
from raymark.generator.preview import sector_mark
from raymark.generator.sampling import sample_ues
from raymark.generator.siting import SiteProposal, SitingPlan, load_scene
from raymark.plots.siting import plot_site_proposals
from raymark.radio import Site
from raymark.scenes import Scene
from raymark.scenes.scene import SceneSettings
from raymark.scenes.trust import is_shipped
from raymark.storage import write_text
from raymark.storage.atomic import writable

_NUM_LOS_POINTS = 2000


def add_sites(scene: Scene, plan: SitingPlan, num_sites: int, *, seed: int = 0) -> tuple[Site, ...]:
    """Add the best proposals to the `scene.yaml` of a user's scene, with their LOS shares.

    The text of all other keys, comments included, stays as it is; the result is validated before
    the file is replaced at once.

    Args:
        scene: A scene in a folder of the user's.
        plan: Proposals for it.
        num_sites: How many are added.
        seed: Root of the points on which the LOS shares are measured.

    Raises:
        SceneError: If the scene ships with raymark or is procedural, or too few proposals meet
            the rule.
        ConfigError: If the changed file would not be valid.
        DatasetError: If it cannot be written.
    """
    require_writable(scene)
    fit = [proposal.site for proposal in plan.proposals if proposal.meets_rule]
    if len(fit) < num_sites:
        raise SceneError(
            f"scene '{scene.name}': {len(fit)} proposed sites have at least "
            f"{plan.settings.min_nlos_share:.0%} NLOS among the points that they cover, "
            f"{num_sites} were to be added; lower --min-nlos or --num, or try another --range"
        )
    added = tuple(fit[:num_sites])
    loaded, _ = load_scene(scene)
    path = scene.folder / "scene.yaml"
    before = read_yaml(path)
    after = {
        **before,
        "sites": [*(before.get("sites") or []), *(_plain(site) for site in added)],
        "los_share": {
            **(before.get("los_share") or {}),
            **{site.name: _los_share(loaded, site, scene, seed) for site in added},
        },
    }
    text = path.read_text(encoding="utf-8")
    for key in ("los_share", "sites"):
        text = _with_key(text, key, after[key])
    if yaml.safe_load(text) != after:
        raise ConfigError(
            f"{path}: its form does not allow to add keys; write it as one key a line"
        )
    validate(SceneSettings, after, where=str(path))
    write_text(path, text)
    return added


def require_writable(scene: Scene) -> None:
    """Check that sites can be added to the `scene.yaml` of a scene.

    Raises:
        SceneError: If it ships with raymark, or if its sites follow from parameters.
    """
    if is_shipped(scene.folder):
        raise SceneError(
            f"scene '{scene.name}' ships with raymark and is not written to; copy its folder "
            f"{scene.folder}, or import a scene of your own, and add sites there"
        )
    if scene.geometry.has_computed_sites:
        raise SceneError(
            f"scene '{scene.name}' is procedural, so that its sites follow from its parameters; "
            "write the site into the campaign instead (scenes[0].sites)"
        )


def draw_proposals(scene: Scene, plan: SitingPlan, out: Path, *, num_best: int = 1) -> None:
    """Draw a plan with the proposals, and the points of the best by LOS, NLOS and outage.

    Beside the figure stand its data: the proposals as `.csv`, the points as `-points.csv` and the
    heights as `.npz`.

    Args:
        scene: What the proposals are for.
        plan: The proposals.
        out: Figure; its ending (.png, .pdf, .svg) decides the format.
        num_best: How many are drawn with their sectors.

    Raises:
        ConfigError: If the ending of `out` is another.
        DatasetError: If a file cannot be written.
    """
    links = _points_of_best(plan)
    plots.save_figure(plots.root_figure(plot_proposals(scene, plan, num_best=num_best)), out)
    with writable(out):
        proposal_table(plan).to_csv(out.with_suffix(".csv"), index=False, float_format="%.6g")
        links.to_csv(out.with_name(f"{out.stem}-points.csv"), index=False, float_format="%.6g")
        heights = plan.heights
        np.savez_compressed(
            out.with_suffix(".npz"), x_m=heights.x_m, y_m=heights.y_m, height_m=heights.height_m
        )


def proposal_table(plan: SitingPlan) -> pd.DataFrame:
    """Return one row for each proposal, best first."""
    return pd.DataFrame([_row(rank, p) for rank, p in enumerate(plan.proposals, start=1)])


def _row(rank: int, proposal: SiteProposal) -> dict[str, Any]:
    site, coverage = proposal.site, proposal.coverage
    x, y, z = site.position_m
    return {
        "rank": rank,
        "site": site.name,
        "kind": proposal.kind,
        "x_m": x,
        "y_m": y,
        "z_m": z,
        "azimuth_deg": site.azimuth_deg,
        "downtilt_deg": site.downtilt_deg,
        "los_share": coverage.los_share,
        "nlos_share": coverage.nlos_share,
        "outage_share": coverage.outage_share,
        "coverage": coverage.share,
        "nlos_of_covered": coverage.nlos_of_covered,
        "score": proposal.score,
        "meets_rule": proposal.meets_rule,
    }


@plots.house_style()
def plot_proposals(
    scene: Scene, plan: SitingPlan, *, num_best: int = 1, ax: Axes | None = None
) -> Axes:
    """Draw a plan with the proposals, and the points of the best by LOS, NLOS and outage.

    Args:
        scene: What the proposals are for.
        plan: The proposals.
        num_best: How many are drawn with their sectors.
        ax: Where to draw; a new figure if not given.
    """
    ax = plot_site_proposals(
        plan.heights,
        [sector_mark(proposal.site, plan.settings.sampling) for proposal in plan.proposals],
        num_best=num_best,
        own_sites=[sector_mark(site, plan.settings.sampling) for site in scene.sites],
        links=_points_of_best(plan),
        ax=plots.new_figure(panel_inches=(7.0, 6.0))[1][0] if ax is None else ax,
    )
    best = plan.proposals[0].site.name
    ax.set_title(f"{scene.settings.title}: proposed sites, points of {best}")
    return ax


def _points_of_best(plan: SitingPlan) -> pd.DataFrame:
    coverage = plan.proposals[0].coverage
    x, y, z = coverage.position_m.T
    return pd.DataFrame({"x_m": x, "y_m": y, "z_m": z, "los": coverage.los})


def _los_share(loaded: RayCaster, site: Site, scene: Scene, seed: int) -> float:
    """Return the LOS share as `scene.yaml` defines it, whatever range was asked for."""
    sampling = UniformSampling(num_ues=_NUM_LOS_POINTS)
    ues = sample_ues(sampling, loaded, site, seed=seed, scene=scene.name)
    bs = np.tile(np.asarray(site.position_m), (len(ues), 1))
    return round(float(loaded.is_visible(bs, ues.position_m.astype("f8")).mean()), 2)


def _plain(site: Site) -> dict[str, Any]:
    return site.model_dump(mode="json")


def _with_key(text: str, key: str, value: Any) -> str:
    """Return the text of a YAML mapping with one of its keys replaced, or added at its end."""
    block = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    for i, (name, _) in enumerate(entries):
        if name.value == key:
            lines = text.splitlines(keepends=True)
            start = name.start_mark.line
            stop = entries[i + 1][0].start_mark.line if i + 1 < len(entries) else len(lines)
            # Comments above the next key are that key's.
            while stop - 1 > start and lines[stop - 1].lstrip()[:1] in ("", "#"):
                stop -= 1
            return "".join([*lines[:start], block, *lines[stop:]])
    return text + ("" if text.endswith("\n") else "\n") + block
