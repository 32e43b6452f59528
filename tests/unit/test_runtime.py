import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raymark.errors import RuntimeUnavailableError
from raymark.generator.tracing import runtime, verdicts


def _old_libraries() -> list[Path]:
    if platform.machine() != "x86_64":  # elsewhere they may well serve
        return []
    folders = [folder for pattern in runtime._LINUX_FOLDERS for folder in Path("/").glob(pattern)]
    names = [f"libLLVM-{version}.so*" for version in range(10, 17)]
    return sorted({file.resolve() for x in folders for name in names for file in x.glob(name)})


NO_OLD_LIBRARY = pytest.param(
    Path(), marks=pytest.mark.skip(reason="no libLLVM 10-16 in /usr/lib of this x86-64 machine")
)
each_old_library = pytest.mark.parametrize("old", _old_libraries() or [NO_OLD_LIBRARY], ids=str)
PYPI_LIBRARIES = runtime._pypi_libraries()
needs_pypi_library = pytest.mark.skipif(
    not PYPI_LIBRARIES, reason="karellen-llvm-core is not installed here"
)


@pytest.fixture(autouse=True)
def cpu_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))  # no verdict of another test
    monkeypatch.delenv(runtime.LLVM_VARIABLE, raising=False)
    monkeypatch.setattr(runtime, "_CUDA_DRIVER", "libno-such-driver.so")
    # Dr.Jit complains about this one in every check: no reason may be taken from it.
    monkeypatch.setenv("DRJIT_LIBCUDA_PATH", "/nowhere/libcuda.so")
    runtime.find_runtime.cache_clear()
    yield
    runtime.find_runtime.cache_clear()


def offer(monkeypatch: pytest.MonkeyPatch, *libraries: Path) -> None:
    monkeypatch.setattr(runtime, "_pypi_libraries", list)
    monkeypatch.setattr(runtime, "_system_libraries", lambda: list(libraries))


def in_fresh_process(code: str, **variables: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != runtime.LLVM_VARIABLE}
    child = subprocess.run(
        [sys.executable, "-c", code],
        env=env | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "libLLVM-99.so"
    path.write_text("not a library\n")
    return path


@needs_pypi_library
def test_find_runtime_takes_the_pypi_library_when_nothing_is_set() -> None:
    found = runtime.find_runtime()

    assert found.variant == "llvm_ad_mono_polarized"
    assert found.llvm_source == "PyPI (karellen-llvm-core)"
    assert found.llvm_path is not None
    assert found.llvm_path.is_file()
    assert found.llvm_version is not None
    assert importlib.metadata.version("karellen-llvm-core").startswith(found.llvm_version)
    assert found.gpu_name is None
    assert found.rejected == ()


@needs_pypi_library
def test_find_runtime_checks_once_when_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = runtime.find_runtime()
    offer(monkeypatch)
    assert runtime.find_runtime() is first


@needs_pypi_library
def test_find_runtime_starts_no_process_when_the_library_has_passed_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = runtime.find_runtime()
    runtime.find_runtime.cache_clear()
    monkeypatch.setattr(runtime, "_check", lambda _: pytest.fail("it was checked again"))

    assert runtime.find_runtime() == first


@needs_pypi_library
def test_find_runtime_checks_again_when_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.find_runtime()
    checked: list[runtime.TracingRuntime] = []
    monkeypatch.setattr(runtime, "_check", lambda candidate: checked.append(candidate) or candidate)

    runtime.find_runtime(checks_anew=True)

    assert [candidate.llvm_path for candidate in checked] == [PYPI_LIBRARIES[0]]


def test_verdict_counts_when_nothing_has_changed(text_file: Path) -> None:
    verdicts.keep_version(text_file, "check", "19.1.0")

    assert verdicts.kept_version(text_file, "check") == "19.1.0"


@pytest.mark.parametrize("change", ["check", "size", "time", "drjit", "mitsuba", "python", "gone"])
def test_verdict_does_not_count_when_something_differs(
    text_file: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    verdicts.keep_version(text_file, "check", "19.1.0")
    version = importlib.metadata.version
    if change == "size":
        before = text_file.stat()
        text_file.write_text("another library\n")
        os.utime(text_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(text_file, ns=(1, 1))
    elif change == "gone":
        text_file.unlink()
    elif change == "python":
        monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
    else:
        monkeypatch.setattr(
            importlib.metadata, "version", lambda name: "0" if name == change else version(name)
        )

    assert verdicts.kept_version(text_file, f"a {change}" if change == "check" else "check") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"llvm": "19.1.0"}', "{"])
def test_verdict_does_not_count_when_its_file_is_damaged(text_file: Path, content: str) -> None:
    verdicts.keep_version(text_file, "check", "19.1.0")
    verdicts._file(text_file).write_text(content)

    assert verdicts.kept_version(text_file, "check") is None


def test_verdict_is_not_kept_when_the_folder_cannot_be_made(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(text_file))
    verdicts.keep_version(text_file, "check", "19.1.0")

    assert verdicts.kept_version(text_file, "check") is None


@needs_pypi_library
def test_find_runtime_keeps_the_users_library_when_it_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(runtime.LLVM_VARIABLE, str(PYPI_LIBRARIES[0]))
    found = runtime.find_runtime()
    assert (found.llvm_path, found.llvm_source) == (PYPI_LIBRARIES[0], "DRJIT_LIBLLVM_PATH")


@needs_pypi_library
@each_old_library
def test_find_runtime_rejects_an_old_library_when_a_newer_one_follows(
    monkeypatch: pytest.MonkeyPatch, old: Path
) -> None:
    offer(monkeypatch, old, PYPI_LIBRARIES[0])

    found = runtime.find_runtime()

    assert (found.llvm_path, found.llvm_source) == (PYPI_LIBRARIES[0], "system")
    assert [item.path for item in found.rejected] == [old]
    assert re.search(r"LLVM ERROR: Cannot select|too old", found.rejected[0].reason)


@each_old_library
def test_find_runtime_names_the_old_library_when_the_user_set_it(
    monkeypatch: pytest.MonkeyPatch, old: Path
) -> None:
    monkeypatch.setenv(runtime.LLVM_VARIABLE, str(old))
    with pytest.raises(RuntimeUnavailableError, match=f"DRJIT_LIBLLVM_PATH.*{re.escape(old.name)}"):
        runtime.find_runtime()


def test_find_runtime_names_the_file_when_the_user_set_no_library(
    monkeypatch: pytest.MonkeyPatch, text_file: Path
) -> None:
    monkeypatch.setenv(runtime.LLVM_VARIABLE, str(text_file))
    with pytest.raises(RuntimeUnavailableError, match=rf"{re.escape(str(text_file))} \(Unable to"):
        runtime.find_runtime()


def test_find_runtime_names_the_path_when_the_user_set_a_missing_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(runtime.LLVM_VARIABLE, "/nowhere/libLLVM.so")
    with pytest.raises(RuntimeUnavailableError, match=r"got /nowhere/libLLVM\.so \(.*No such file"):
        runtime.find_runtime()


def test_find_runtime_says_what_to_install_when_there_is_no_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch)
    with pytest.raises(
        RuntimeUnavailableError, match="got neither; run `pip install karellen-llvm-core` or set"
    ):
        runtime.find_runtime()


def test_find_runtime_lists_every_reason_when_all_candidates_fail(
    monkeypatch: pytest.MonkeyPatch, text_file: Path
) -> None:
    offer(monkeypatch, text_file, Path("/nowhere/libLLVM.so"))
    with pytest.raises(RuntimeUnavailableError, match=r"libLLVM-99\.so \(.*; /nowhere/libLLVM\.so"):
        runtime.find_runtime()


def test_find_runtime_asks_for_mitsuba_when_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install \"raymark\[generate\]\""):
        runtime.find_runtime()


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("import os; os.abort()", "stopped by signal 6"),
        ("raise SystemExit('a test kernel gave wrong numbers: [0]')", "wrong numbers"),
        ("import time; time.sleep(60)", "did not run: TimeoutExpired"),
    ],
)
def test_find_runtime_rejects_a_library_when_its_check(
    monkeypatch: pytest.MonkeyPatch, text_file: Path, check: str, reason: str
) -> None:
    no_core_file = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    monkeypatch.setattr(runtime, "_CHECK", no_core_file + check)
    monkeypatch.setattr(runtime, "CHECK_TIMEOUT_S", 1)
    offer(monkeypatch, text_file)
    with pytest.raises(RuntimeUnavailableError, match=reason):
        runtime.find_runtime()


@needs_pypi_library
def test_find_runtime_falls_back_to_the_cpu_when_the_driver_has_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Something that loads, but drives nothing.
    monkeypatch.setattr(runtime, "_CUDA_DRIVER", str(PYPI_LIBRARIES[0]))
    monkeypatch.setenv("DRJIT_LIBCUDA_PATH", str(PYPI_LIBRARIES[0]))
    found = runtime.find_runtime()
    assert found.variant == "llvm_ad_mono_polarized"
    assert [item.path for item in found.rejected] == [PYPI_LIBRARIES[0]]
    assert "CUDA" in found.rejected[0].reason


@needs_pypi_library
def test_find_runtime_prefers_the_gpu_when_its_check_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "_CUDA_DRIVER", str(PYPI_LIBRARIES[0]))
    monkeypatch.setattr(runtime, "_CHECK", """print('{"gpu": "a test GPU"}')""")
    expected = runtime.TracingRuntime(variant="cuda_ad_mono_polarized", gpu_name="a test GPU")
    assert runtime.find_runtime() == expected


@pytest.mark.gpu
def test_find_runtime_names_the_gpu_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_CUDA_DRIVER", "libcuda.so.1")
    monkeypatch.delenv("DRJIT_LIBCUDA_PATH")
    found = runtime.find_runtime()
    if found.gpu_name is None:
        pytest.skip("no GPU that can trace here")
    assert found.variant == "cuda_ad_mono_polarized"


@needs_pypi_library
def test_check_leaves_nothing_on_disk_when_it_compiles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where Dr.Jit keeps the kernels that it compiles
    monkeypatch.setenv("DRJIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    runtime.find_runtime()
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]  # that it has passed


def test_system_libraries_come_newest_first_when_there_are_several(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["libLLVM-9.so.1", "libLLVM.so.23.1", "libLLVM-14.0.6.so.1", "libLLVM-18.dylib"]
    others = ["libLLVMCore.a", "libLLVM-22-rust-1.95.0-stable.so", "libLLVMPolly.so"]
    (tmp_path / "lib").mkdir()
    for name in [*names, *others]:
        (tmp_path / "lib" / name).touch()
    (tmp_path / "lib" / "libLLVM.so").symlink_to("libLLVM.so.23.1")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(runtime, "_LINUX_FOLDERS", ())
    monkeypatch.setattr(runtime, "_MACOS_FOLDERS", ())

    found = [path.name for path in runtime._system_libraries()]

    assert found == ["libLLVM.so.23.1", "libLLVM-18.dylib", "libLLVM-14.0.6.so.1", "libLLVM-9.so.1"]


def loaded_tracers(imported: str) -> str:
    tracers = {"drjit", "mitsuba", "sionna"}
    return in_fresh_process(f"import sys, {imported}; print(sorted({tracers} & set(sys.modules)))")


def test_import_loads_no_tracer_when_only_the_module_is_imported() -> None:
    assert loaded_tracers("raymark.generator.tracing.runtime") == "[]"


def test_import_check_sees_a_tracer_when_one_is_loaded() -> None:
    assert loaded_tracers("mitsuba") == "['drjit', 'mitsuba']"


ACTIVATE = """
import json, os
from raymark.errors import RuntimeUnavailableError
from raymark.generator.tracing.runtime import activate_runtime
try:
    first, second = activate_runtime(), activate_runtime()
except RuntimeUnavailableError as error:
    print(json.dumps({"error": str(error)}))
    raise SystemExit(0)
import drjit, mitsuba
mitsuba.Float([1.0, 2.0]) + 1
version = ".".join(str(number) for number in drjit.detail.llvm_version())
print(json.dumps({
    "again": first is second, "variant": mitsuba.variant(), "reported": first.variant,
    "llvm": version, "reported_llvm": first.llvm_version, "source": first.llvm_source,
}))
"""


def activate_after(setup: str, **variables: str) -> dict[str, object]:
    lines = in_fresh_process(f"{setup}\n{ACTIVATE}", **variables).splitlines()
    result: dict[str, object] = json.loads(lines[-1])
    return result


@needs_pypi_library
def test_activate_runtime_loads_the_checked_library_when_the_process_is_fresh() -> None:
    result = activate_after("")
    assert result["again"]
    assert result["variant"] == result["reported"] == "llvm_ad_mono_polarized"
    assert result["llvm"] == result["reported_llvm"]
    assert result["source"] == "PyPI (karellen-llvm-core)"


@needs_pypi_library
@pytest.mark.parametrize(
    "setup",
    [
        "import drjit",
        "import mitsuba; mitsuba.set_variant('scalar_rgb')",
        "import mitsuba; mitsuba.set_variant('llvm_ad_mono_polarized')",
    ],
)
def test_activate_runtime_keeps_a_loaded_library_when_it_passes(setup: str) -> None:
    result = activate_after(setup, **{runtime.LLVM_VARIABLE: str(PYPI_LIBRARIES[0])})
    assert result["variant"] == "llvm_ad_mono_polarized"
    assert result["llvm"] == result["reported_llvm"]
    assert result["source"] == "DRJIT_LIBLLVM_PATH"


@each_old_library
def test_activate_runtime_raises_when_drjit_has_loaded_an_old_library(old: Path) -> None:
    result = activate_after("import mitsuba", **{runtime.LLVM_VARIABLE: str(old)})
    assert "Dr.Jit was imported too early" in str(result["error"])


@needs_pypi_library
@each_old_library
def test_activate_runtime_raises_when_the_variable_is_set_after_the_import(old: Path) -> None:
    too_late = f"import mitsuba, os; os.environ['DRJIT_LIBLLVM_PATH'] = {str(PYPI_LIBRARIES[0])!r}"
    result = activate_after(too_late, **{runtime.LLVM_VARIABLE: str(old)})
    assert "DRJIT_LIBLLVM_PATH was set after Dr.Jit had loaded LLVM" in str(result["error"])
