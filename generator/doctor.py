"""Find out whether this machine can make datasets, and say what is missing."""

import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

from raymark.errors import RaymarkError
from raymark.extras import install_command
from raymark.generator.tracing.runtime import TracingRuntime, find_runtime
from raymark.radio import BAND_PRESETS
from raymark.scenes import check_material, get_scene, scene_names
from raymark.work.finding import Finding

_PACKAGES = (
    "raymark",
    "sionna",
    "sionna-rt",
    "mitsuba",
    "drjit",
    "torch",
    "numpy",
    "h5py",
    "karellen-llvm-core",
    "tensorflow",
)
_OPTIONAL = ("karellen-llvm-core", "tensorflow")
_ENOUGH_DISK_BYTES = 1 << 30


def examine(folder: Path) -> list[Finding]:
    """Look at Python, the tracing back-end, versions, disk and the scenes' materials."""
    findings = [Finding(subject="Python", text=f"{platform.python_version()} ({sys.executable})")]
    findings += _backend()
    findings += [_package(name) for name in _PACKAGES]
    free = shutil.disk_usage(folder).free
    enough = free >= _ENOUGH_DISK_BYTES
    text = f"{free / 1e9:.1f} GB free in {folder}" + ("" if enough else "; at least 1 GB is needed")
    findings.append(Finding(subject="disk", text=text, is_good=enough))
    return findings + [_materials(name) for name in scene_names()]


def _backend() -> list[Finding]:
    try:
        runtime = find_runtime(checks_anew=True)
    except RaymarkError as error:
        return [Finding(subject="tracing", text=str(error), is_good=False)]
    return [
        Finding(subject="tracing", text=f"{runtime.variant}; a test kernel ran"),
        Finding(subject="LLVM", text=_llvm(runtime)),
        Finding(subject="GPU", text=runtime.gpu_name or "none; tracing runs on the CPU"),
    ]


def _llvm(runtime: TracingRuntime) -> str:
    if runtime.llvm_path is None:
        return "not needed"
    text = f"{runtime.llvm_version} at {runtime.llvm_path} ({runtime.llvm_source})"
    for library in runtime.rejected:
        text += f"; not usable: {library.path} ({library.reason})"
    return text


def _package(name: str) -> Finding:
    try:
        return Finding(subject=name, text=metadata.version(name))
    except metadata.PackageNotFoundError:
        optional = name in _OPTIONAL
        text = "optional" if optional else f"`{install_command('generate')}` adds it"
        return Finding(subject=name, text=f"not installed; {text}", is_good=optional)


def _materials(name: str) -> Finding:
    """Check a scene's materials at the preset bands; a gap limits the bands, not the machine."""
    gaps = []
    settings = get_scene(name).settings
    for band in BAND_PRESETS.values():
        for material in settings.materials:
            try:
                check_material(material, band.carrier_hz, where=band.name)
            except RaymarkError as error:
                gaps.append(str(error))
    defined = f"{', '.join(settings.materials)}: defined at all {len(BAND_PRESETS)} named bands"
    text = "; ".join(gaps) or defined
    return Finding(subject=f"scene {name}", text=text, is_good=not gaps)
