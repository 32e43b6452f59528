"""Exchange with others: DeepMIMO, Sionna PHY channels, Sionna RT paths, WAIR-D."""

from raymark.interop.deepmimo_choice import DeepmimoImport
from raymark.interop.deepmimo_export import ExportedScenario, export_deepmimo
from raymark.interop.deepmimo_import import import_deepmimo
from raymark.interop.sionna_paths import PathsSource, save_paths
from raymark.interop.sionna_phy import SionnaChannel, sionna_cir
from raymark.interop.waird_import import WairdImport, import_waird

__all__ = [
    "DeepmimoImport",
    "ExportedScenario",
    "PathsSource",
    "SionnaChannel",
    "WairdImport",
    "export_deepmimo",
    "import_deepmimo",
    "import_waird",
    "save_paths",
    "sionna_cir",
]
