"""Locate links by their CSI on a map whose city has no labels: from files to figures.

It stands on all that it joins: what traces the map, what estimates paths, and what compares both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raymark.benchmark import Measurements
from raymark.benchmark.csi_files import CsiFile, measure_csi, read_csi
from raymark.cli.locating.explaining import link_posterior, located_links, save_link_figure
from raymark.cli.locating.results import (
    PAGE_NAME,
    error_rows,
    figure_name,
    require_out,
    results_folder,
    write_locations,
)
from raymark.dataset.samplings import GridSampling
from raymark.errors import ConfigError
from raymark.generator.plan import Progress
from raymark.generator.scene_maps import (
    DEFAULT_AREA,
    MapKeeping,
    map_campaign,
    scene_map,
    site_of,
)
from raymark.generator.viewer import view_located
from raymark.models.twin.unlabelled import Assumptions, Locations, MapLocator
from raymark.plots import LinkPosterior
from raymark.radio import Receiver
from raymark.scenes import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatingSettings:
    """How links are located on a map.

    Attributes:
        site: Name of the site that received the CSI; the only one if not given.
        band: Name of its band; that of the file, or of the receiver, if not given.
        receiver: Band and front-end, if not raymark's usual ones.
        area: Where candidates stand.
        assumptions: What stands in for labels.
        keeping: Where traced maps are kept.
    """

    site: str | None = None
    band: str | None = None
    receiver: Receiver | None = None
    area: GridSampling = DEFAULT_AREA
    assumptions: Assumptions = field(default_factory=Assumptions)
    keeping: MapKeeping = field(default_factory=MapKeeping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is to be written.

    Attributes:
        folder: Appears whole, with a table, arrays and a report.
        links: Numbers of those whose posterior is drawn.
        with_page: Whether the 3D page of all links is written.
        overwrite: Replace former results there; other files stay.
    """

    folder: Path
    links: tuple[int, ...] = ()
    with_page: bool = False
    overwrite: bool = False

    def require_possible(self, file: CsiFile) -> None:
        """Check that it can be written, before anything is computed.

        Raises:
            ConfigError: If there is no such link.
            DatasetError: If the folder is there, unless `overwrite`.
        """
        _require_links(self.links, file)
        require_out(self.folder, overwrite=self.overwrite)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocatedOnMap:
    """Links of a file that were located on a map.

    Attributes:
        scene: The map.
        file: The links.
        measured: What was estimated of them.
        locator: Who compared them with the map.
        found: Where they are.
    """

    scene: Scene
    file: CsiFile
    measured: Measurements
    locator: MapLocator
    found: Locations

    @property
    def notes(self) -> tuple[str, ...]:
        """All that was assumed and a reader must know, in sentences."""
        site, num_silent = self.locator.site, int((self.found.num_paths == 0).sum())
        silent = f"{num_silent} of the links show no path: they are where the map has none to see"
        is_strange = num_silent < len(self.found) and not self.found.num_explained.any()
        strange = (
            "the map explains no path of any link: scene, site, orientation, band or receiver are "
            "hardly those of the CSI, and the positions say nothing"
        )
        return (
            f"map: {site.key}, {len(self.locator.point_m):,} candidates "
            f"{self.locator.spacing_m:g} m apart; {site.attribution}, {site.licence}",
            *self.locator.assumptions.describe(self.locator.receiver),
            "positions are in the frame of the scene; deviation is the root of the mean squared "
            "distance that the posterior expects, peak its share within 3 m of its highest mode",
            *([silent] if num_silent else []),
            *([strange] if is_strange else []),
        )

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Errors against the positions that the file holds, see `error_rows`; none without."""
        if self.file.position_m is None:
            return []
        return error_rows(self.found, self.file.position_m, self.file.los)

    def posterior(self, link: int) -> LinkPosterior:
        """Return the posterior of one link, for `raymark.plots.plot_link_posterior`.

        Raises:
            ConfigError: If there is no such link.
        """
        _require_links([link], self.file)
        known_m = self.file.position_m
        true_m = None if known_m is None else known_m[link]
        return link_posterior(self.locator, self.measured, self.found, link, true_m=true_m)

    def write(self, output: Output) -> None:
        """Write results.

        Raises:
            ConfigError: If there is no such link.
            DatasetError: If the folder is there, unless it may be overwritten, or cannot be
                written.
        """
        output.require_possible(self.file)
        with results_folder(output.folder, overwrite=output.overwrite) as partial:
            write_locations(partial, self.found, self.locator)
            for link in output.links:
                save_link_figure(self.posterior(link), partial / figure_name(link))
            if output.with_page:
                located, area = located_links(self.locator, self.found), self.locator.area
                view_located(self.scene, partial / PAGE_NAME, located, area=area)


def locate_on_map(
    scene: Scene,
    csi: Path,
    settings: LocatingSettings | None = None,
    *,
    output: Output | None = None,
    tell: Callable[[str], None] = lambda _step: None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> LocatedOnMap:
    """Read CSI, estimate paths, trace the map unless it is kept, match, and write what is asked.

    Args:
        scene: The map: any scene with the site that received the CSI.
        csi: NPZ or HDF5 file, see `raymark.benchmark.csi_files.read_csi`.
        settings: How links are located.
        output: What is written; nothing if not given.
        tell: Told what is done next.
        progress: Told how many points of the map are traced.

    Raises:
        ConfigError: If the file, the receiver or a setting cannot be used.
        SceneError: If the scene has no such site or no building, if a material of it is undefined
            at the band, or if it was edited since its map was traced.
        DatasetError: If something cannot be written.
    """
    settings = settings or LocatingSettings()
    site = site_of(scene, settings.site)
    file = read_csi(csi, site=site.name)
    receiver = file.receiver(settings.band, settings.receiver)
    if output is not None:
        output.require_possible(file)
    map_campaign(scene, site, receiver, settings.area)  # what is wrong is told at once
    tell("estimating paths")
    measured = measure_csi(file, site, receiver, scene=scene.name)
    tell("tracing the map, unless it is kept")
    keeping, area = settings.keeping, settings.area
    city = scene_map(scene, site, receiver, area=area, keeping=keeping, progress=progress)
    tell("matching")
    locator = MapLocator(city, receiver, settings.assumptions)
    found = locator.locate(measured)
    located = LocatedOnMap(scene=scene, file=file, measured=measured, locator=locator, found=found)
    if output is not None:
        tell("writing")
        located.write(output)
    return located


def _require_links(asked: Sequence[int], file: CsiFile) -> None:
    for link in asked:
        if not 0 <= link < len(file.csi):
            raise ConfigError(f"{file.path} has links 0 to {len(file.csi) - 1}, not link {link}")
