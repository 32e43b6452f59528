"""What a process may reach from a moment on: Linux's Landlock, if this system has it.

Rights are given file by file and folder by folder, and never come back: to files and folders, to
TCP (Linux 6.7), to the sockets and signals of other processes (Linux 6.12). See
https://docs.kernel.org/userspace-api/landlock.html; the numbers are those of `linux/landlock.h`.
"""

import ctypes
import os
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights to files, by the version that brought some."""
_TCP, _SCOPES = 0b11, 0b11

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/nix", "/sys")
_KERNEL = ("cpuinfo", "meminfo", "stat", "version", "filesystems", "modules", "devices", "driver")
_DEVICES = ("null", "zero", "full", "random", "urandom", "nvidia*", "kfd", "dri")
_PACKAGES = frozenset({"site-packages", "dist-packages"})
_MODULES = frozenset({".py", ".pyc", ".so", ".zip", ".egg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a confined process may use beside its own folder and what every process needs.

    Attributes:
        read: Files, and folders with all that is in them.
        searched: Folders in which Python finds modules; what lies there now is noted before, since
            whoever may list a folder may list all below.
    """

    read: tuple[str, ...]
    searched: tuple[str, ...] = ()


@cache
def sandbox_name() -> str:
    """Return what confines processes here: `landlock` and its version, or `none`."""
    version = _landlock_version()
    return f"landlock {version}" if version else "none"


def reach_of(
    code: Iterable[Path], *, searched: Iterable[Path] = (), hidden: Iterable[Path] = ()
) -> Reach:
    """Return what a process needs that runs Python code.

    Python, its packages and the system are in reach; of other folders on Python's search path, only
    modules and packages are.

    Args:
        code: Files and folders of the code beside.
        searched: Folders in which Python looks for it.
        hidden: Folders that must stay out of reach, even within one of those.
    """
    places = [os.path.realpath(path) for path in sys.path if path]
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    packages = {os.path.realpath(path) for path in prefixes}
    packages |= {path for path in places if Path(path).name in _PACKAGES}
    own = {path for path in places if not _is_below(path, packages)}
    wanted = {*_SYSTEM, *packages, *map(str, code)}
    wanted |= {module for folder in own for module in _modules_in(Path(folder))}
    kept_away = [os.path.realpath(path) for path in hidden]
    return Reach(
        read=tuple(
            sorted({f for path in wanted for f in _without(os.path.realpath(path), kept_away)})
        ),
        searched=tuple(sorted(own | {str(path) for path in searched})),
    )


def confine(room: Path, reach: Reach) -> None:
    """Let this process, from now on, reach its own folder and what it needs to compute, alone.

    Nothing happens where the system has no Landlock (`sandbox_name`).

    Args:
        room: Its own folder, in which it may do all.
        reach: What else it may use.

    Raises:
        OSError: If the system refuses.
    """
    version = _landlock_version()
    if not version:
        return
    for folder in reach.searched:
        PathFinder.find_spec("raymark", [folder])
    all_rights = next(rights for first, rights in reversed(_RIGHTS.items()) if version >= first)
    attributes = struct.pack(
        "=QQQ", all_rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, rights in _rules(room, reach, all_rights):
            _allow(ruleset, path, rights & all_rights)
        if _library().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "no new privileges")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _rules(room: Path, reach: Reach, all_rights: int) -> Iterator[tuple[str, int]]:
    yield str(room), all_rights
    for path in (*reach.read, *(f"/proc/{name}" for name in _KERNEL)):
        yield path, _READ | _LIST | _EXECUTE
    yield "/proc/self", _READ | _LIST | _WRITE
    for pattern in _DEVICES:
        for device in Path("/dev").glob(pattern):
            yield str(device), _READ | _LIST | _WRITE | _IOCTL


def _allow(ruleset: int, path: str, rights: int) -> None:
    with _opened(path) as descriptor:
        if descriptor is not None:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= _OF_FILES
            rule = struct.pack("=Qi", rights, descriptor)
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)


@contextmanager
def _opened(path: str) -> Iterator[int | None]:
    """Open a file to name it; nothing if it is not there, or not for us."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _without(path: str, hidden: list[str]) -> Iterator[str]:
    """Return a path, or what is in it but for what is hidden."""
    if any(_is_below(path, [each]) for each in hidden):
        return
    if not any(_is_below(each, [path]) for each in hidden):
        yield path
        return
    for entry in os.scandir(path):
        if not entry.is_symlink():
            yield from _without(entry.path, hidden)


def _modules_in(folder: Path) -> Iterator[str]:
    """Return what Python can import from a folder: modules, and packages with an `__init__.py`."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix in _MODULES or (path / "__init__.py").is_file():
            yield str(path)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{folder.rstrip('/')}/") for folder in folders)


@cache
def _landlock_version() -> int:
    if sys.platform != "linux":
        return 0
    return max(0, int(_library().syscall(_CREATE_RULESET, None, 0, _VERSION)))


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes) -> int:
    values = [ctypes.c_long(x) if isinstance(x, int) else x for x in arguments]
    result = int(_library().syscall(number, *values))
    if result < 0:
        problem = ctypes.get_errno()
        raise OSError(problem, f"Landlock: {os.strerror(problem)}")
    return result
