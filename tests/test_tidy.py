"""Reads the code itself: sizes, docstrings, and calls that must not be there (reliability: no pickle, no eval)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("malamute", "cluster", "actors", "ingest", "query", "storage", "core")
NOT_PACKAGES = {"tests", "benchmarks", "docs", "web", "examples", "build", "dist", "malamute-data"}

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
# One loop over the input whose state has to stay in registers: a call that hands it over and back costs a third.
SCANS = {"scan_json", "scan_msgpack"}
SCAN_LINES_MAX = 220

# Only storage/fs.py may change files (compiled code is kept by numba); these are the ways to get at one.
WRITES_MODULES = ("core", "storage", "query", "ingest")
WRITERS = ("storage/fs.py", "core/kernels.py")
OS_WRITES = {
    "open", "write", "writev", "pwrite", "fsync", "fdatasync", "rename", "replace", "link", "symlink", "unlink",
    "remove", "rmdir", "mkdir", "makedirs", "truncate", "ftruncate",
}  # fmt: skip
PATH_WRITES = {"write_text", "write_bytes", "unlink", "rmdir", "mkdir", "touch", "rename", "hardlink_to", "symlink_to"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


def _product() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def _all_code() -> list[Path]:
    return [*_product(), *sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _at(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def _calls(path: Path) -> Iterator[tuple[ast.Call, str | None, str]]:
    """Every call as (node, name of what the attribute is taken from, name of the function)."""
    for node in ast.walk(_tree(path)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            yield node, None, node.func.id
        elif isinstance(node.func, ast.Attribute):
            yield node, node.func.value.id if isinstance(node.func.value, ast.Name) else "", node.func.attr


def _imports(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node, (node.module or "").partition(".")[0]


def test_there_is_code_to_read() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in _product()} == set(PACKAGES)


def test_root_packages_are_the_known_ones() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - NOT_PACKAGES
    assert found == set(PACKAGES)


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in _all_code()}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_no_function_is_too_long() -> None:
    too_long = {
        f"{_at(path, node)} {node.name}": node.end_lineno - node.lineno + 1
        for path in _product()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > (SCAN_LINES_MAX if node.name in SCANS else FUNCTION_LINES_MAX)
    }
    assert too_long == {}


def test_every_module_says_what_it_owns() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in _all_code()
        if not ast.get_docstring(_tree(path)) and not (path.name == "__init__.py" and not path.read_text().strip())
    ]
    assert silent == []


def test_packages_hold_only_public_names() -> None:
    """A package's __init__ has a docstring, imports and assignments; the face may also define its lazy lookup."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.If)
    extra = [
        _at(path, node)
        for path in (ROOT / package / "__init__.py" for package in PACKAGES)
        for node in _tree(path).body
        if not isinstance(node, allowed)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__"))
    ]
    assert extra == []


def test_no_pickle_or_marshal() -> None:
    assert [
        f"{_at(path, node)} {name}" for path in _product() for node, name in _imports(path) if name in FORBIDDEN_IMPORTS
    ] == []


def test_nothing_evaluates_text_as_code() -> None:
    evaluated = [
        _at(path, node)
        for path in _product()
        for node, owner, name in _calls(path)
        if (owner is None and name in ("eval", "exec", "compile", "__import__"))
        or (owner == "yaml" and name in ("load", "load_all", "full_load", "unsafe_load"))
    ]
    assert evaluated == []


def _opens_for_writing(node: ast.Call, position: int) -> bool:
    """Whether a call of open() writes; a mode that is not a constant counts as writing."""
    mode = node.args[position] if len(node.args) > position else None
    mode = next((keyword.value for keyword in node.keywords if keyword.arg == "mode"), mode)
    if mode is None:
        return False
    return not (isinstance(mode, ast.Constant) and isinstance(mode.value, str)) or bool(set("wax+") & set(mode.value))


def _writes(node: ast.Call, owner: str | None, name: str) -> bool:
    if owner is None:
        return name == "open" and _opens_for_writing(node, 1)
    if owner in ("os", "shutil", "tempfile"):
        return owner != "os" or name in OS_WRITES
    if name == "open":
        return _opens_for_writing(node, 0)
    return name in PATH_WRITES and not _is_file_system(node)


def _is_file_system(node: ast.Call) -> bool:
    """Whether the call goes to a FileSystem, by the name it has everywhere: fs, self._fs."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return name.lstrip("_") in ("fs", "inner", "file_system")


def test_only_the_file_system_writes_files() -> None:
    writers = [
        f"{_at(path, node)} {name}"
        for path in _product()
        if path.relative_to(ROOT).parts[0] in WRITES_MODULES and str(path.relative_to(ROOT)) not in WRITERS
        for node, owner, name in _calls(path)
        if _writes(node, owner, name)
    ]
    assert writers == []


@pytest.mark.parametrize(
    ("source", "writes"),
    [
        ("open(p, 'w')", True),
        ("open(p, mode='ab')", True),
        ("open(p, m)", True),
        ("open(p)", False),
        ("open(p, 'rb')", False),
        ("Path(p).open('wb')", True),
        ("Path(p).open('rb')", False),
        ("Path(p).write_bytes(b)", True),
        ("path.unlink()", True),
        ("self._fs.unlink(p)", False),
        ("os.rename(a, b)", True),
        ("os.path.join(a, b)", False),
        ("os.getpid()", False),
        ("shutil.rmtree(p)", True),
    ],
)
def test_the_search_for_writers_finds_them(source: str, writes: bool, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert any(_writes(*call) for call in _calls(path)) == writes
