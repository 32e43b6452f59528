"""The code that decides a prediction, found by reading imports and not by importing.

Of a model that is its own folder, with all files in it, and what it imports, step by step, from
`FOLLOWED` or from beside its folder. The rest of raymark (errors, files, the reader) moves numbers
without changing them, and datasets have hashes of their own. A name that a package's `__init__.py`
passes on is followed to where it is defined, so that a new export of `raymark.benchmark` leaves
every hash as it was. Imports within functions count as well; what is imported by a computed name
is not seen.

Comments, blank lines and docstrings are cut, so that a better word in shared code does not run all
models anew. The text is hashed, and not its syntax tree, which `ast.dump` and `ast.unparse` write
in another way in each version of Python: a checkpoint opens in any.
"""

import ast
import functools
import hashlib
import importlib.util
import io
import itertools
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raymark.benchmark.localizer import ModelFolder
from raymark.errors import ConfigError

FOLLOWED = ("raymark.models", "raymark.benchmark", "raymark.radio", "raymark.seeding")
"""The packages whose numbers are a model's: its relatives, their inputs, the physics, the draws."""

_LAYOUT = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
_WHOLE = "*"
_SAID = frozenset({"card.md", "references.bib"})


def model_hash(model: ModelFolder) -> str:
    """Return a hash over what decides a model's predictions: own files and imported code."""
    own = _own_modules(model)
    parts = {f"./{path.relative_to(model.folder).as_posix()}": read_code(path) for path in own}
    for path in set(_own_files(model)) - set(own):
        parts[f"./{path.relative_to(model.folder).as_posix()}"] = _read(path)
    imported = _imported(model, [*own.values(), *_around(model)])
    parts |= {name: read_code(path) for name, path in imported.items() if path not in own}
    return _hash_of(parts)


def code_places(model: ModelFolder) -> tuple[Path, ...]:
    """Return the files and folders in which the code of a model lies, raymark's own included."""
    imported = _imported(model, [*_own_modules(model).values(), *_around(model)])
    return (
        model.folder,
        *imported.values(),
        *(folder_of(name) for name in ("raymark", *FOLLOWED)),
    )


def _own_files(model: ModelFolder) -> Iterator[Path]:
    """Yield the files that a model can read in its folder; what is said of it decides nothing."""
    for path in model.folder.rglob("*"):
        if path.is_file() and path.name not in _SAID and path.parent.name != "__pycache__":
            yield path


def _own_modules(model: ModelFolder) -> dict[Path, str]:
    return {path: _module_of(path, model) for path in sorted(model.folder.rglob("*.py"))}


def _around(model: ModelFolder) -> tuple[str, ...]:
    """Return the modules that make more of a model's estimates."""
    return () if type(model) is ModelFolder else (type(model).__module__,)


def _imported(model: ModelFolder, modules: Iterable[str]) -> dict[str, Path]:
    parent, _, _ = model.module.removesuffix(".model").rpartition(".")
    return SourceTree({parent: model.folder.parent}).closure(modules)


def code_hash(module: str) -> str:
    """Return a hash over a module of raymark and what it imports of `FOLLOWED`."""
    imported = SourceTree({}).closure([module])
    return _hash_of({name: read_code(path) for name, path in imported.items()})


class SourceTree:
    """Finds the files of modules and what they import."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Look below the folders of `FOLLOWED`, and first in others.

        Args:
            folders: Folders by the name of their package; "" for one on the search path.
        """
        self._folders = {name: folder_of(name) for name in FOLLOWED} | dict(folders)
        self._files: dict[str, Path | None] = {}

    def closure(self, modules: Iterable[str]) -> dict[str, Path]:
        """Return the files of modules and of all that they import, by name; circles end."""
        found: dict[str, Path] = {}
        open_ = list(modules)
        while open_:
            module = open_.pop()
            path = None if module in found else self._file_of(module)
            if path is None:
                continue
            found[module] = path
            open_ += self._imports_of(module, path)
            if "." in module and not _is_ours(module):  # our packages only pass names on
                open_.append(module.rpartition(".")[0])
        return found

    def _file_of(self, module: str) -> Path | None:
        if module not in self._files:
            self._files[module] = self._find(module)
        return self._files[module]

    def _find(self, module: str) -> Path | None:
        holders = [name for name in self._folders if name and f"{module}.".startswith(f"{name}.")]
        if not holders and ("" not in self._folders or _is_ours(module)):
            return None
        package = max(holders, key=len, default="")
        below = [part for part in module.removeprefix(package).split(".") if part]
        place = self._folders[package].joinpath(*below)
        files = place / "__init__.py", place.with_name(f"{place.name}.py")
        return next((file for file in files if file.is_file()), None)

    def _imports_of(self, module: str, path: Path) -> Iterator[str]:
        for statement in _parsed(path).imports:
            base = statement.base_in(module, path)
            yield self._origin(base, statement.name, frozenset())

    def _origin(self, base: str, name: str, seen: frozenset[tuple[str, str]]) -> str:
        """Return the module that defines a name which another module has."""
        path = self._file_of(base)
        if path is not None and path.name == "__init__.py" and (base, name) not in seen:
            for statement in _parsed(path).imports:
                if statement.bound == name:
                    further = statement.base_in(base, path)
                    return self._origin(further, statement.name, seen | {(base, name)})
        within = f"{base}.{name}"
        return within if name != _WHOLE and self._file_of(within) else base


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    """One name that a module imports; `*` stands for all of `base`."""

    base: str
    name: str
    bound: str | None
    level: int

    def base_in(self, module: str, path: Path) -> str:
        """Return the absolute name of `base` as seen from a module."""
        if not self.level:
            return self.base
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        above = package[: len(package) - self.level + 1]
        return ".".join([*above, self.base] if self.base else above)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    code: str
    imports: tuple[_Import, ...]


def read_code(path: Path) -> str:
    """Return the text of a Python file without comments, blank lines and docstrings."""
    return _parsed(path).code


def _parsed(path: Path) -> _Source:
    status = path.stat()
    return _parse(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _parse(path: Path, _mtime_ns: int, _size: int) -> _Source:
    """Read a file; one that is no Python counts as it stands, its import will say what is wrong."""
    text = _read(path)
    try:
        return _Source(code=_without_notes(text), imports=tuple(_imports(ast.parse(text))))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return _Source(code=text, imports=())


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _imports(tree: ast.AST) -> Iterator[_Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield _Import(base=each.name, name=_WHOLE, bound=None, level=0)
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                bound = each.asname or each.name
                yield _Import(base=node.module or "", name=each.name, bound=bound, level=node.level)


def _without_notes(text: str) -> str:
    """Keep the lines that hold code; those of strings stay as they are."""
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type != tokenize.NL
    ]
    comments = {t.start[0]: t.start[1] for t in tokens if t.type == tokenize.COMMENT}
    tokens = [token for token in tokens if token.type != tokenize.COMMENT]
    kept: set[int] = set()
    before = tokenize.NEWLINE
    for token, after in itertools.pairwise(tokens):
        is_note = (
            token.type == tokenize.STRING and before in _LAYOUT and after.type == tokenize.NEWLINE
        )
        if token.type not in _LAYOUT and not is_note:
            kept.update(range(token.start[0], token.end[0] + 1))
        before = token.type
    lines = text.split("\n")
    return "\n".join(
        lines[row - 1][: comments[row]].rstrip() if row in comments else lines[row - 1]
        for row in sorted(kept)
    )


@functools.cache
def folder_of(package: str) -> Path:
    """Return where a package lies, or would if it were no single file; it is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"this raymark lacks the package {package}; install raymark again")
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin.with_suffix("")


def _is_ours(module: str) -> bool:
    return f"{module}.".startswith("raymark.")


def _module_of(path: Path, model: ModelFolder) -> str:
    """Return the name under which a file of a model's folder is imported."""
    names = path.relative_to(model.folder).with_suffix("").parts
    names = names[:-1] if names[-1] == "__init__" else names
    return ".".join([model.module.removesuffix(".model"), *names])


def _hash_of(parts: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(parts.items()):
        code = hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).digest()
        digest.update(name.encode() + b"\0" + code)
    return digest.hexdigest()
