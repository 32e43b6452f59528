"""Choose the library that compiles the ray tracer's kernels, and check it before Dr.Jit loads it.

Dr.Jit loads an LLVM library as soon as it is imported, can never exchange it, and ends the whole
process when it is too old: on x86-64, LLVM 15 and 16 cannot translate `llvm.minimum`
(https://github.com/llvm/llvm-project/issues/53353). So every candidate first compiles and traces a
tiny scene in a child process, and only one that passed is loaded here. A library that has passed is
remembered (see `verdicts`); a GPU is tried each time.
"""

import contextlib
import ctypes.util
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from raymark.errors import RuntimeUnavailableError
from raymark.extras import install_command
from raymark.generator.tracing.verdicts import keep_version, kept_version

CUDA_VARIANT = "cuda_ad_mono_polarized"
LLVM_VARIANT = "llvm_ad_mono_polarized"
LLVM_VARIABLE = "DRJIT_LIBLLVM_PATH"
PYPI_DISTRIBUTION = "karellen-llvm-core"
CHECK_TIMEOUT_S = 120  # for a cold disk or a busy machine: mostly a check takes half a second

_REMEDY = f"run `pip install {PYPI_DISTRIBUTION}` or set {LLVM_VARIABLE} to libLLVM 17 or newer"
_LIBRARY_NAME = re.compile(r"libLLVM([-.]\d+)*\.(so[.\d]*|dylib)")
_CUDA_DRIVER = os.environ.get("DRJIT_LIBCUDA_PATH") or "libcuda.so.1"
_LINUX_FOLDERS = ("usr/lib*", "usr/lib/*-linux-gnu", "usr/lib*/llvm*/lib", "usr/local/lib")
_MACOS_FOLDERS = ("usr/local/opt/llvm*/lib", "opt/homebrew/opt/llvm*/lib")

# What the child runs. It needs nothing but Dr.Jit and Mitsuba: raymark may not be importable there.
_CHECK = """
import ctypes, json, os, sys
if os.name == "posix":
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an abort must not leave a core file
import drjit as dr, mitsuba as mi
kind = sys.argv[1].split("_")[0].upper()
if not dr.has_backend(getattr(dr.JitBackend, kind)):
    sys.exit("Dr.Jit could not start its " + kind + " back-end")
if kind == "LLVM":
    found = {"llvm": "%d.%d.%d" % dr.detail.llvm_version()}
else:
    name = ctypes.create_string_buffer(256)
    ctypes.CDLL(sys.argv[2]).cuDeviceGetName(name, len(name), 0)
    found = {"gpu": name.value.decode(errors="replace")}
print(json.dumps(found), flush=True)  # before the kernels: an abort keeps the version in the report
mi.set_variant(sys.argv[1])
x = dr.arange(mi.Float, 4)
scene = mi.load_dict({"type": "scene", "wall": {"type": "rectangle"}})
hit = scene.ray_intersect(mi.Ray3f(mi.Point3f(x / 8, 0, 2), mi.Vector3f(0, 0, -1)))
got = [list(dr.minimum(x, 1.5)), list(dr.maximum(x, 1.5)), [round(t, 3) for t in hit.t]]
if got != [[0, 1, 1.5, 1.5], [1.5, 1.5, 2, 3], [2, 2, 2, 2]]:
    sys.exit("a test kernel gave wrong numbers: " + str(got))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedLibrary:
    """A library that failed the check, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingRuntime:
    """The back-end that traces on this machine; the `llvm_` fields are None on a GPU.

    `llvm_source` is "DRJIT_LIBLLVM_PATH", "PyPI (karellen-llvm-core)" or "system"; `llvm_path` is
    also None for a library that Dr.Jit had found by itself before raymark was asked. `rejected`
    lists what failed the check before this back-end passed it.
    """

    variant: str
    llvm_path: Path | None = None
    llvm_version: str | None = None
    llvm_source: str | None = None
    gpu_name: str | None = None
    rejected: tuple[RejectedLibrary, ...] = ()


@functools.cache
def find_runtime(*, checks_anew: bool = False) -> TracingRuntime:
    """Find the first back-end that passes the check: a GPU, else an LLVM library.

    Args:
        checks_anew: Check a library, too, that is known to have passed here (see `verdicts`).

    Raises:
        RuntimeUnavailableError: Mitsuba is not installed, no candidate passed, or the library that
            the user named in DRJIT_LIBLLVM_PATH did not.
    """
    if importlib.util.find_spec("mitsuba") is None:
        raise RuntimeUnavailableError(
            f"ray tracing needs mitsuba, which is not installed; `{install_command('generate')}` "
            "adds it"
        )
    rejected: list[RejectedLibrary] = []
    for candidate in _candidates():
        try:
            found = None if checks_anew else _known(candidate)
            return replace(found or _check(candidate), rejected=tuple(rejected))
        except RuntimeUnavailableError as failure:
            path = candidate.llvm_path or Path(_CUDA_DRIVER)
            rejected.append(RejectedLibrary(path=path, reason=str(failure)))
    raise RuntimeUnavailableError(_nothing_found(rejected))


def activate_runtime() -> TracingRuntime:
    """Load the checked back-end into this process and select its Mitsuba variant.

    Call it before `import sionna.rt`. Calling it again changes nothing, and a variant that sionna
    can trace with and that is already selected stays.

    Raises:
        RuntimeUnavailableError: No back-end passes the check, or Dr.Jit was imported earlier and
            has loaded one that does not, or TensorFlow was imported earlier.
    """
    runtime = _process_runtime()
    mitsuba = importlib.import_module("mitsuba")
    if mitsuba.variant() not in (CUDA_VARIANT, LLVM_VARIANT):
        mitsuba.set_variant(runtime.variant)
    return runtime


@functools.cache
def _process_runtime() -> TracingRuntime:
    if "drjit" in sys.modules:  # someone else imported it: the library cannot be chosen any more
        return _adopt_loaded()
    runtime = find_runtime()
    if runtime.llvm_path is not None and "tensorflow" in sys.modules:
        # Both bring an LLVM; loaded second, Dr.Jit's ends the process at the first kernel.
        raise RuntimeUnavailableError(
            "TensorFlow was imported before the ray tracer, whose LLVM it breaks; import "
            "raymark.generator.plan before tensorflow, or trace in a process of its own"
        )
    if runtime.llvm_path is not None:
        os.environ[LLVM_VARIABLE] = str(runtime.llvm_path)
    return runtime


def _adopt_loaded() -> TracingRuntime:
    """Check what Dr.Jit has already loaded here, in a child that makes the same choice."""
    advice = "call activate_runtime() before drjit, mitsuba or sionna is imported"
    try:
        loaded_here = _loaded()
        runtime = _known(loaded_here) or _check(loaded_here)
    except RuntimeUnavailableError as failure:
        raise RuntimeUnavailableError(
            f"Dr.Jit was imported too early and loaded a library that fails ({failure}); {advice}"
        ) from failure
    loaded = "{}.{}.{}".format(*importlib.import_module("drjit").detail.llvm_version())
    if runtime.llvm_version not in (None, loaded):
        raise RuntimeUnavailableError(
            f"{LLVM_VARIABLE} was set after Dr.Jit had loaded LLVM {loaded}; {advice}"
        )
    return runtime


def _loaded() -> TracingRuntime:
    drjit, mitsuba = importlib.import_module("drjit"), importlib.import_module("mitsuba")
    variant = mitsuba.variant()
    if variant not in (CUDA_VARIANT, LLVM_VARIANT):
        variant = CUDA_VARIANT if drjit.has_backend(drjit.JitBackend.CUDA) else LLVM_VARIANT
    if variant == CUDA_VARIANT:
        return TracingRuntime(variant=CUDA_VARIANT)
    return _named_library() or TracingRuntime(variant=LLVM_VARIANT, llvm_source="system")


def _candidates() -> Iterator[TracingRuntime]:
    with contextlib.suppress(OSError):  # no driver: no child has to tell that there is no GPU
        ctypes.CDLL(_CUDA_DRIVER)
        yield TracingRuntime(variant=CUDA_VARIANT)
    if named := _named_library():
        yield named
        return  # no silent fallback from the user's own choice
    libraries = dict.fromkeys(_pypi_libraries(), f"PyPI ({PYPI_DISTRIBUTION})")
    for path in _system_libraries():
        libraries.setdefault(path, "system")
    for path, source in libraries.items():
        yield TracingRuntime(variant=LLVM_VARIANT, llvm_path=path, llvm_source=source)


def _named_library() -> TracingRuntime | None:
    if not (named := os.environ.get(LLVM_VARIABLE)):
        return None
    # A bare name, which the loader searches for, is no file here and stays as it is.
    path = Path(named).absolute() if Path(named).exists() else Path(named)
    return TracingRuntime(variant=LLVM_VARIANT, llvm_path=path, llvm_source=LLVM_VARIABLE)


def _pypi_libraries() -> list[Path]:
    # The package itself knows where it is: `pip install --user` does not use sys.prefix.
    packages = importlib.metadata.distributions(name=PYPI_DISTRIBUTION)
    return _newest_first(Path(str(f.locate())) for package in packages for f in package.files or ())


def _system_libraries() -> list[Path]:
    patterns = _LINUX_FOLDERS + _MACOS_FOLDERS
    folders = [Path(sys.prefix, "lib"), *(f for p in patterns for f in Path("/").glob(p))]
    found = _newest_first(file for folder in folders for file in folder.glob("libLLVM*"))
    # Only then ask the loader, which knows a bare name and may start a compiler to find it.
    return found or [Path(name) for name in [ctypes.util.find_library("LLVM")] if name]


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    files = {p.resolve() for p in paths if _LIBRARY_NAME.fullmatch(p.name) and p.exists()}
    return sorted(files, key=_major_version, reverse=True)


def _major_version(path: Path) -> int:
    """Read the version off the name, or off its folder: Homebrew has `llvm/19.1.0/lib/libLLVM`."""
    numbers = (re.search(r"\d+", part) for part in reversed(path.parts))
    return next((int(number[0]) for number in numbers if number), 0)


def _known(candidate: TracingRuntime) -> TracingRuntime | None:
    """Return a library with its version if it has passed the check before."""
    path = candidate.llvm_path
    version = None if path is None else kept_version(path, _CHECK)
    return None if version is None else replace(candidate, llvm_version=version)


def _check(candidate: TracingRuntime) -> TracingRuntime:
    """Trace with the candidate in a child process, and fill in its version or its GPU's name."""
    # Without the disk cache: the check must compile, and leave nothing behind.
    env = os.environ | {"DRJIT_CACHE_DIR": os.devnull}
    if candidate.llvm_path is not None:
        env[LLVM_VARIABLE] = str(candidate.llvm_path)
    # -P: a folder named `drjit` in the working directory must not be taken for the package.
    # Its prefix: Mitsuba, too, looks for plugins in the working directory first.
    command = [sys.executable, "-P", "-W", "ignore", "-c", _CHECK, candidate.variant, _CUDA_DRIVER]
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter runs our own code
            command,
            cwd=sys.prefix,
            env=env,
            capture_output=True,
            check=False,
            timeout=CHECK_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailableError(f"the check did not run: {type(error).__name__}") from error
    lines = [line for line in child.stdout.splitlines() if line.startswith(b"{")]
    found: dict[str, str] = json.loads(lines[0]) if lines else {}
    checked = replace(candidate, llvm_version=found.get("llvm"), gpu_name=found.get("gpu"))
    if child.returncode != 0:
        raise RuntimeUnavailableError(_failure(checked, child))
    if checked.llvm_path is not None and checked.llvm_version is not None:
        keep_version(checked.llvm_path, _CHECK, checked.llvm_version)
    return checked


def _failure(checked: TracingRuntime, child: subprocess.CompletedProcess[bytes]) -> str:
    """Pick the line that says why: Dr.Jit's or LLVM's first one, else Python's last one."""
    # Dr.Jit starts both back-ends, and complains about the one that was not asked for too.
    noise = "kernel cache|" + ("llvm" if checked.variant == CUDA_VARIANT else "cuda|optix")
    stderr = child.stderr.decode(errors="replace").splitlines()
    lines = [s for s in stderr if s.strip() and not re.search(noise, s, re.I)] or ["no message"]
    line = next((s for s in lines if re.match(r"LLVM ERROR|jitc?_", s)), lines[-1])
    cause = re.sub(r"^jitc?_\w+\(\): |\s*\b0x[0-9a-f]+\b[:,]?", "", line).split(". ")[0]
    version = f"LLVM {checked.llvm_version}, " if checked.llvm_version else ""
    ending = f"stopped by signal {-child.returncode}: " if child.returncode < 0 else ""
    return f"{version}{ending}{cause}"


def _nothing_found(rejected: list[RejectedLibrary]) -> str:
    subject = f"{LLVM_VARIABLE} names a library that cannot" if _named_library() else "nothing can"
    tried = "; ".join(f"{item.path} ({item.reason})" for item in rejected) or "neither"
    wanted = "an NVIDIA GPU or libLLVM 17 or newer"
    return f"{subject} run the ray tracer here: expected {wanted}, got {tried}; {_REMEDY}"
