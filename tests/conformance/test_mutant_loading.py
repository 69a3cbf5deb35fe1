"""Edits find parsed code, and a mutant is a copy of both packages that disturbs nothing."""

from __future__ import annotations

import ast
import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import quantref
from quantcheck import mutants
from quantcheck.mutants import Edit, LoadedMutant, Mutant, loading
from quantcheck.mutants.edits import edited
from quantcheck.spec.places import directory
from quantcheck.targets.reference import operations
from quantref import errors, rounding

# Edits of parsed code

SOURCE = '''
SIZE = 3  # step(x)

class Counter:
    """step(x)"""
    start: int = 1
    def count(self, x, *, by: int = 2, to: int = 2):
        """Text: step(x)"""
        # step(x)
        message = "step(x)"; note = f"step({x})"
        if x:
            step( x ,)
            x = by
            return message
        x = by

def count(x):
    def step(x): return x - 1
    return lambda: step(x) + SIZE
'''


def changed(function: str, statement: str, replacement: str) -> list[str]:
    """Return the lines that an edit adds to `SOURCE`."""
    before = ast.unparse(ast.parse(SOURCE)).splitlines()
    tree = edited(SOURCE, [Edit("m", function, statement, replacement)])
    compile(tree, "m", "exec")
    return [line.strip() for line in ast.unparse(tree).splitlines() if line not in before]


@pytest.mark.parametrize(
    ("function", "statement", "replacement", "lines"),
    [
        ("Counter.count", "step(x)", "leap(x)", ["leap(x)"]),
        ("Counter.count", "step(x)", "y = leap(x); return y", ["y = leap(x)", "return y"]),
        ("Counter.count", "x = by; return message", "pass", ["pass"]),
        ("Counter.count", "by: int = 2", "by: int = 3",
         ["def count(self, x, *, by: int=3, to: int=2):"]),
        ("Counter", "start: int = 1", "start: int = 0", ["start: int = 0"]),
        ("", "start: int = 1", "start: int = 0", ["start: int = 0"]),
        ("", "3", "4", ["SIZE = 4"]),
        ("count", "step(x) + SIZE", "\n    SIZE\n", ["return lambda: SIZE"]),
        ("count.step", "x - 1", "x", ["return x"]),
    ],
)  # fmt: skip
def test_edits(function: str, statement: str, replacement: str, lines: list[str]) -> None:
    assert changed(function, statement, replacement) == lines


@pytest.mark.parametrize(
    ("function", "statement", "times"),
    [
        ("", "step(x)", 0),  # only in a comment, a docstring and functions
        ("Counter", "step(x)", 0),
        ("Counter.count", "Text", 0),
        ("Counter.count", "x = by", 2),
        ("Counter.count", "to: int = 3", 0),
        ("Counter.count", "2", 2),
        ("count", "x", 2),
    ],
)
def test_comments_strings_and_other_functions_do_not_count(
    function: str, statement: str, times: int
) -> None:
    with pytest.raises(LookupError, match=f" occurs {times} times in m, "):
        changed(function, statement, "pass" if "=" in statement else "0")


def test_several_edits_of_one_module() -> None:
    edits = [Edit("m", "count.step", "x - 1", "x - 2"), Edit("m", "", "SIZE = 3", "SIZE = 4")]
    tree = edited(SOURCE, edits)
    assert {"SIZE = 4", "        return x - 2"} <= set(ast.unparse(tree).splitlines())


@pytest.mark.parametrize(
    ("module", "function", "statement", "message"),
    [
        ("rounding", "saturating_cast", "no", "'no' occurs 0 times in quantref.rounding, "),
        ("rounding", "saturating_cast", "bounds.max", "'bounds.max' occurs 2 times in "),
        ("rounding", "", "x + 1", " occurs 0 times in quantref.rounding, outside functions;"),
        ("rounding", "gone", "x", "quantref.rounding has 0 functions 'gone'; expected one"),
        ("rounding", "is_float.gone", "x", "has 0 functions 'is_float.gone'; expected one"),
        ("gone", "is_float", "x", "no module 'quantref.gone'"),
        ("gone.too", "is_float", "x", "no module 'quantref.gone.too'"),
    ],
)
def test_what_is_not_there_once(module: str, function: str, statement: str, message: str) -> None:
    edit = Edit(f"quantref.{module}", function, statement, "0")
    broken = Mutant("broken", (edit,), "Nothing.", ("rnd",), "RND-010")
    with pytest.raises(LookupError, match=f"^mutant broken: .*{re.escape(message)}"):
        mutants.load(broken)


# Copies of the packages

UNCHANGED = Mutant("unchanged", (), "Nothing is changed.", (), "")


def copied(loaded: LoadedMutant, module: str) -> ModuleType:
    return importlib.import_module(f"{loaded.package}.quantref.{module}")


def half(loaded: LoadedMutant | None) -> float:
    """Return 1/2 rounded by a mutant or by the reference."""
    x = {"dtype": "float32", "shape": [1], "data": [0.5]}
    question: dict[str, Any] = {
        "id": "q",
        "operation": "round_half_even",
        "parameters": {},
        "inputs": {"x": x},
    }
    given = (operations if loaded is None else loaded).answer(question)
    return float(given["outputs"]["values"]["data"][0])


def test_a_mutant_leaves_the_reference_and_other_mutants_alone() -> None:
    up, wrap = mutants.load("rnd-half-up"), mutants.load("rnd-wrap")
    assert (half(up), half(wrap), half(None)) == (1, 0, 0)
    assert copied(up, "rounding") is not copied(wrap, "rounding")
    assert copied(up, "rounding").np is np
    assert loading.PREFIX not in repr(vars(quantref))


def test_a_copy_has_classes_of_its_own_and_each_once() -> None:
    loaded = mutants.load(UNCHANGED)
    config, inputs = copied(loaded, "config"), copied(loaded, "inputs.numbers")
    assert inputs.ConfigError is copied(loaded, "errors").ConfigError
    assert inputs.ConfigError is not errors.ConfigError
    # Imported in a function, and by the package's __getattr__.
    quantizer = config.Int8QuantizationConfig().activation_quantizer
    assert type(quantizer) is copied(loaded, "absmax").AbsMaxQuantizer
    package = sys.modules[f"{loaded.package}.quantref"]
    assert package.certify is copied(loaded, "fast.certificate").certify
    assert package.certify is not quantref.certify
    assert package.__version__ == quantref.__version__


def test_imports_in_functions_find_the_edited_module() -> None:
    """The quantizer is imported when a config is made."""
    function, statement = "AbsMaxQuantizer.__init__", "super().__init__(output_dtype)"
    edit = Edit("quantref.absmax", function, statement, "super().__init__('int16')")
    loaded = mutants.load(Mutant("late", (edit,), "Codes have 16 bits.", (), ""))
    config = copied(loaded, "config").Int8QuantizationConfig()
    assert config.activation_quantizer.output_dtype == "int16"
    assert quantref.Int8QuantizationConfig().activation_quantizer.output_dtype == "int8"  # type: ignore[union-attr]


def test_a_copy_is_pickled_and_finds_its_files() -> None:
    loaded = mutants.load(UNCHANGED)
    rules = copied(loaded, "rules")
    profile = rules.Profile(range=rules.raw_range)
    again = pickle.loads(pickle.dumps(profile))
    assert again == profile
    assert type(again) is type(profile)
    places = importlib.import_module(f"{loaded.package}.quantcheck.spec.places")
    assert places.directory() == directory()
    assert copied(loaded, "rounding").__file__ == rounding.__file__


PLANTED = {
    "__init__": "import planted.words as words\nfrom . import deep",
    "words": "WORD = 'right'",
    "deep/__init__": "",
    "deep/entry": """
import planted.words
from ..words import WORD

def answer(question):
    import planted.deep.later.words as later
    from . import entry
    assert entry.answer is answer
    return {"words": [planted.words.WORD, WORD, later.word()]}
""",
    "deep/later/__init__": "from planted import words as above",
    "deep/later/words": """
from ... import words
from .. import later

def word():
    assert later.above is words
    return words.WORD
""",
}


def test_sub_packages_and_relative_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PLANTED.items():
        file = tmp_path / "planted" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loading, "COPIED", ("planted",))
    monkeypatch.setattr(loading, "ENTRY", "planted.deep.entry")
    wrong = Mutant("wrong", (Edit("planted.words", "", "'right'", "'wrong'"),), "Wrong.", (), "")
    right = Mutant("right", (), "Right.", (), "")
    loaded = [mutants.load(wrong), mutants.load(right)]
    for one in (*loaded, *loaded):
        assert one.answer({}) == {"words": [one.mutant.id] * 3}


def test_a_copy_that_cannot_be_imported_is_forgotten() -> None:
    edit = Edit("quantref.rounding", "", "import numpy as np", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        mutants.load(Mutant("crash", (edit,), "Nothing works.", (), ""))
    assert not [name for name in sys.modules if "crash" in name and loading.PREFIX in name]


def test_loading_needs_no_framework() -> None:
    code = (
        "import sys; from quantcheck.mutants import load; load('rnd-half-up'); "
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"pytest", "hypothesis", "rich", "keras", "torch"} & set(done.stdout.split())
