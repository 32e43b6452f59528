"""Exchange with other programs: DeepMIMO scenarios, Sionna PHY channels, Sionna RT paths."""

from raymark.interop.deepmimo_choice import DeepmimoImport
from raymark.interop.deepmimo_export import ExportedScenario, export_deepmimo
from raymark.interop.deepmimo_import import import_deepmimo
from raymark.interop.sionna_paths import PathsSource, save_paths
from raymark.interop.sionna_phy import SionnaChannel, sionna_cir

__all__ = [
    "DeepmimoImport",
    "ExportedScenario",
    "PathsSource",
    "SionnaChannel",
    "export_deepmimo",
    "import_deepmimo",
    "save_paths",
    "sionna_cir",
]
