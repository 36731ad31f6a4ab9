"""Kernels that work on addresses keep the memory behind them: the compiler frees an array after its last use by name,
and does not know that its address is still used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(ROOT.glob("*/compiled/*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_no_address_outlives_an_array_that_a_kernel_makes(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert list(outlived(node)) == [], node.name


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("a = np.empty(9)\n at = address_of(a)\n store64(at, 0, 1)", ["a"]),
        ("a, b = np.empty(9), np.empty(9)\n at = address_of(b) + 8\n store64(at, 0, 1)", ["b"]),
        ("a = np.empty(9)\n at = address_of(a)\n store64(at, 0, 1)\n return a", []),
        ("a = np.empty(9)\n at = address_of(a)\n for i in range(9):\n  store64(at, 8 * i, 1)\n  a[0] = 2", []),
        ("a = np.empty(9)\n at = address_of(a)\n for i in range(9):\n  a[0] = 2\n store64(at, 8, 1)", ["a"]),
        ("a = np.empty(9)\n fill(address_of(a))\n a[0] = 1", ["a"]),
        ("at = address_of(given)\n store64(at, 0, 1)", []),
    ],
)
def test_the_check_sees_what_is_wrong(body: str, wrong: list[str]) -> None:
    function = ast.parse(f"def kernel(given):\n {body}").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert list(outlived(function)) == wrong


def outlived(function: ast.FunctionDef) -> list[str]:
    """Arrays made in the function that are not returned and whose address is used where their name may be used up."""
    return [name for name in made_in(function) if not returned(function, name) and not kept(function, name)]


def made_in(function: ast.FunctionDef) -> list[str]:
    return [
        target.id
        for target, made in assignments(function)
        if isinstance(made, ast.Call) and not called(made, "address_of")
    ]


def assignments(node: ast.AST) -> list[tuple[ast.Name, ast.expr]]:
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for assign in (child for child in ast.walk(node) if isinstance(child, ast.Assign)):
        target, made = assign.targets[0], assign.value
        if isinstance(target, ast.Tuple) and isinstance(made, ast.Tuple):
            pairs += zip(target.elts, made.elts, strict=True)
        else:
            pairs.append((target, made))
    return [(target, made) for target, made in pairs if isinstance(target, ast.Name)]


def called(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def returned(function: ast.FunctionDef, name: str) -> bool:
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
    return bool(returns) and mentions(returns[-1], name)


def kept(function: ast.FunctionDef, name: str) -> bool:
    """Whether all uses of its address stand in loops that use the array itself: there it lives to the loop's end."""
    takes = {target.id for target, made in assignments(function) if takes_address(made, name)}
    for statement in function.body:
        if isinstance(statement, ast.Assign):
            continue
        if takes_address(statement, name) and not isinstance(statement, ast.For | ast.While):
            return False
        if any(mentions(statement, address) for address in takes) and not (
            isinstance(statement, ast.For | ast.While) and mentions(statement, name)
        ):
            return False
    return True


def takes_address(node: ast.AST, name: str) -> bool:
    return any(called(child, "address_of") and mentions(child, name) for child in ast.walk(node))


def mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(child, ast.Name) and child.id == name for child in ast.walk(node))
