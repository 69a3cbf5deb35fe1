"""Who may import whom: the reference knows no framework, and the suite imports it, never back."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType

import pytest

from quantcheck.targets.libraries import LIBRARIES

FRAMEWORKS = {"keras", "jax", "jaxlib", "tensorflow", "torch", "openvino"}
TEST_TOOLS = {"pytest", "_pytest", "hypothesis"}
CORE = {"numpy", "scipy"}
# Imported by the reference in functions alone, where a caller's arrays or models need it.
OPTIONAL = {"ml_dtypes", "threadpoolctl"}
# What rooms of the reference import beyond the core, in functions alone. Keras's backends have
# switches of their own.
SHOWING = {"rich", "jinja2", "matplotlib"}
OF_PARTS = {
    "quantref.cli": SHOWING,
    "quantref.formats": {"safetensors"},
    "quantref.keras": {"keras", "torch"},
    "quantref.models.executors": {"distributed"},
}
# Section modules that are the specification and nothing else, in the order of SPEC.md.
SECTIONS = (
    "config", "rounding", "affine", "absmax", "packing", "hessian", "gptq", "checks", "certificate",
    "layers", "calibration", "int4",
)  # fmt: skip
MOST_LINES = 2700
# Rooms of the reference, each with those that it may import; sections are open to all of them.
REFERENCE_ROOMS: dict[str, set[str]] = {
    "fast": set(),
    "formats": {"fast"},
    "models": {"fast", "formats"},
    "keras": {"fast", "formats", "models"},
    "cli": {"fast", "formats", "models", "keras"},
}


@dataclass(frozen=True)
class Import:
    """One import statement's module and names, and whether importing the importer runs it."""

    module: str
    names: tuple[str, ...]
    line: int
    eager: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def targets(self) -> set[str]:
        """What may be a module: `from package import name` may mean package.name."""
        return {self.module, *(f"{self.module}.{name}" for name in self.names)}


def within(tree: ast.AST, kinds: type | UnionType) -> set[ast.AST]:
    return {child for node in ast.walk(tree) if isinstance(node, kinds) for child in ast.walk(node)}


def imports_of(path: Path, package: str, *, typing_only: bool = False) -> Iterator[Import]:
    """Every import of a file; relative ones made absolute; `TYPE_CHECKING` blocks if asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = within(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    unreal = {
        child
        for guard in guards
        if "TYPE_CHECKING" in ast.unparse(guard.test)
        for statement in ([] if typing_only else guard.body)
        for child in ast.walk(statement)
    }
    for node in (n for n in ast.walk(tree) if n not in unreal):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno, node not in lazy)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) + 1 - node.level], base]).rstrip(".")
            names = tuple(alias.name for alias in node.names)
            yield Import(base, names, node.lineno, node not in lazy)


def modules(source: Path) -> dict[str, Path]:
    """Every module of a package: dotted name to file."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    assert found, f"no module in {source}"
    return found


def package_of(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


@pytest.fixture(scope="module")
def reference(root: Path) -> dict[str, Path]:
    return modules(root / "reference" / "quantref")


@pytest.fixture(scope="module")
def conformance(root: Path) -> dict[str, Path]:
    return modules(root / "conformance" / "quantcheck")


def test_the_reference_imports_neither_frameworks_nor_the_suite(
    reference: dict[str, Path],
) -> None:
    allowed = CORE | set(sys.stdlib_module_names) | {"quantref"}
    wrong = []
    for name, path in reference.items():
        for found in imports_of(path, package_of(name, path)):
            if found.top in allowed or (found.top in OPTIONAL and not found.eager):
                continue
            of_part = [tops for part, tops in OF_PARTS.items() if f"{name}.".startswith(f"{part}.")]
            if any(found.top in tops for tops in of_part) and not found.eager:
                continue
            wrong.append(f"{path.name}:{found.line} imports {found.module}")
    assert not wrong


def room_of(module: str) -> str | None:
    """The room of a module of the reference; None for sections, errors and the package itself."""
    parts = module.split(".")
    return (
        parts[1]
        if parts[0] == "quantref" and len(parts) > 1 and parts[1] in REFERENCE_ROOMS
        else None
    )


def test_rooms_of_the_reference_import_downwards(reference: dict[str, Path]) -> None:
    """Imports in functions and for types alone count; modules in no room import `fast` alone."""
    wrong, seen = [], set()
    for name, path in reference.items():
        room = room_of(name)
        allowed = {"fast"} if room is None else {room, *REFERENCE_ROOMS[room]}
        for found in imports_of(path, package_of(name, path), typing_only=True):
            rooms = {inner for t in found.targets if (inner := room_of(t)) is not None}
            seen |= {(room, inner) for inner in rooms}
            if rooms - allowed:
                wrong.append(f"{name}:{found.line} imports {found.module}")
    assert not wrong
    assert seen >= {("keras", "models"), ("models", "formats"), ("cli", "keras"), ("cli", "models")}


# Rooms of quantcheck, and the rooms that each may import; `errors` is for all of them.
ROOMS = {
    "spec": set(),
    "wire": {"spec"},
    "oracle": set(),
    "judge": {"spec", "wire", "oracle"},
    "targets": {"wire"},
    "mutants": {"targets"},
    "corpus": {"spec", "wire", "oracle", "judge", "mutants", "targets"},
    "properties": {"spec", "wire", "oracle", "judge", "corpus"},
    "deviations": {"wire", "oracle", "judge"},
    "report": {"spec", "judge"},
    "diff": {"judge", "report"},
    "site": {"spec", "judge", "report", "diff"},
    "interface": {"spec", "wire", "properties", "run", "report"},
}  # fmt: skip
ORACLE_MAY = {"quantref.errors", "quantref.equations"}  # the oracle imports nothing that it judges


def test_rooms_of_the_suite_import_what_is_below_them(conformance: dict[str, Path]) -> None:
    wrong = []
    for name, path in conformance.items():
        room = name.split(".")[1] if "." in name else ""
        if room not in ROOMS:
            continue
        allowed = {room, "errors", *ROOMS[room]}
        for found in every_import(path):
            other = found.split(".")[1] if found.startswith("quantcheck.") else room
            if other not in allowed:
                wrong.append(f"{name} imports {found}")
    assert not wrong


def test_the_oracle_imports_nothing_that_it_judges(conformance: dict[str, Path]) -> None:
    for name, path in conformance.items():
        if f"{name}.".startswith("quantcheck.oracle."):
            ours = {i for i in every_import(path) if i.startswith("quantref")}
            assert ours <= ORACLE_MAY, name


def every_import(path: Path) -> set[str]:
    """Return the modules that a file imports: at the top, in functions, and for types alone."""
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    found = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return found | {n.module or "." for n in nodes if isinstance(n, ast.ImportFrom)}


def every_module(path: Path, package: str, known: dict[str, Path]) -> set[str]:
    """Return the known modules that a file imports; the deepest name that is a module counts."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & set(known)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join(filter(None, [*parents, node.module])) if node.level else node.module
            inner = {f"{base}.{alias.name}" for alias in node.names} & set(known)
            found |= inner or ({str(base)} & set(known))
    return found


def test_sections_import_checks_and_earlier_sections_alone(reference: dict[str, Path]) -> None:
    allowed = {"quantref.errors", "quantref.inputs", "quantref.rules", "quantref.equations"}
    for section in SECTIONS:
        found = every_import(reference[f"quantref.{section}"])
        tops = {name.partition(".")[0] for name in found}
        assert tops <= CORE | {"quantref"} | set(sys.stdlib_module_names)
        assert {name for name in found if name.startswith("quantref")} <= allowed, section
        allowed.add(f"quantref.{section}")


def test_rules_are_below_the_sections(reference: dict[str, Path]) -> None:
    ours = {i for i in every_import(reference["quantref.rules"]) if i.startswith("quantref")}
    assert ours <= {"quantref.errors", "quantref.inputs", "quantref.packing"}


def test_the_sections_are_short(reference: dict[str, Path]) -> None:
    """Twelve modules, the eleven of SPEC.md's sections and the rules, have few lines."""
    names = [*(name for name in SECTIONS if name != "checks"), "rules"]
    assert len(names) == 12
    lines = {n: len(reference[f"quantref.{n}"].read_text("utf-8").splitlines()) for n in names}
    assert sum(lines.values()) <= MOST_LINES, lines


def test_the_choice_of_the_public_form_is_in_one_place(reference: dict[str, Path]) -> None:
    """No section imports `fast`, and nothing outside rooms does but the package itself."""
    users = {
        name
        for name, path in reference.items()
        if room_of(name) is None
        for found in every_import(path)
        if found.startswith("quantref.fast")
    }
    assert users == {"quantref"}


def test_checks_of_input_import_errors_alone(reference: dict[str, Path]) -> None:
    for name, path in reference.items():
        if f"{name}.".startswith("quantref.inputs."):
            ours = {i for i in every_import(path) if i.startswith("quantref")}
            assert {i for i in ours if not i.startswith("quantref.inputs.")} <= {"quantref.errors"}


@pytest.mark.parametrize("package", ["quantref", "quantcheck"])
def test_modules_import_each_other_in_one_direction(
    package: str, reference: dict[str, Path], conformance: dict[str, Path]
) -> None:
    known = {"quantref": reference, "quantcheck": conformance}[package]
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = every_module(path, package_of(name, path), known) - {name, package}
    del graph[package]  # __init__ imports them all, and none imports it for more than constants
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' <- '.join(error.args[1])}")
    assert set(order) == set(graph)


def test_the_suite_imports_frameworks_only_when_a_target_asks(
    conformance: dict[str, Path],
) -> None:
    # Adapters of libraries are imported by name, in the process of their target alone.
    adapters = {f"quantcheck.targets.libraries.{module}" for module in LIBRARIES.values()}
    wrong = []
    for name, path in conformance.items():
        for found in imports_of(path, package_of(name, path)):
            in_target = name.startswith("quantcheck.targets.")
            eager = found.eager and name not in adapters
            if (found.top in FRAMEWORKS and (eager or not in_target)) or found.targets & adapters:
                wrong.append(f"{path.name}:{found.line} imports {found.module}")
            if found.top in {"tests", "reference", "conformance"}:
                wrong.append(f"{path.name}:{found.line} imports {found.module}")
    assert not wrong


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("quantref", FRAMEWORKS | TEST_TOOLS | OPTIONAL | SHOWING | {"quantcheck"}),
        ("quantref.cli", FRAMEWORKS | TEST_TOOLS | OPTIONAL | SHOWING | {"quantcheck"}),
        ("quantref.models", FRAMEWORKS | TEST_TOOLS | OPTIONAL | SHOWING | {"quantcheck"}),
        ("quantcheck", FRAMEWORKS | TEST_TOOLS),
        ("quantcheck.cli", FRAMEWORKS),
        # `quantcheck vectors`: NumPy and SciPy alone.
        (
            "quantcheck.corpus.generate",
            FRAMEWORKS | TEST_TOOLS | OPTIONAL | SHOWING | {"jsonschema"},
        ),
    ],
)
def test_importing_stays_light(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert module.partition(".")[0] in loaded
    assert not loaded & forbidden
