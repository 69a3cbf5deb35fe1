"""What ruff does not look at: the length of modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MOST_LINES = 300
MOST_LINES_OF_ADAPTERS = 150


def lines_of_code(source: str) -> int:
    """Lines that carry code: documentation and white space may take the room they need."""
    coded: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.expr | ast.stmt) and not text:
            # The lines where something begins or ends; what lies between has its own nodes.
            coded |= {node.lineno, node.end_lineno or node.lineno}
    documented = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return len(coded - documented)


def test_the_count_itself() -> None:
    assert lines_of_code('"""Doc.\n\nMore.\n"""\n\n# why\nx = [\n    1,\n]\n') == 3


@pytest.mark.parametrize("folder", ["reference", "conformance"])
def test_modules_stay_short_enough_to_read(root: Path, folder: str) -> None:
    lengths = {
        path.relative_to(root).as_posix(): lines_of_code(path.read_text("utf-8"))
        for path in (root / folder).rglob("*.py")
    }
    assert lengths
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_adapters_of_libraries_stay_thin(root: Path) -> None:
    folder = root / "conformance" / "quantcheck" / "targets" / "libraries"
    lengths = {path.name: lines_of_code(path.read_text("utf-8")) for path in folder.glob("*.py")}
    assert lengths
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_ADAPTERS}
