"""`quantcheck vectors`: write, check or show the golden vectors; needs NumPy and SciPy alone."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from quantcheck.spec.places import directory
from quantcheck.wire.cases import Case, load, load_all
from quantref.errors import QuantrefError

OK, FAILED, USAGE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; exit code 0 done, 1 refused or different, 2 usage, 130 interrupted."""
    options = parser().parse_args(arguments)
    try:
        done = _run(options)
        sys.stdout.flush()
        return done
    except BrokenPipeError:  # of a reader that has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left to flush
        return FAILED if options.check or options.write else OK
    except QuantrefError as error:
        print(f"quantcheck: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("quantcheck: interrupted, nothing was changed", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="quantcheck vectors",
        description="Write, check or show the golden vectors.",
        epilog="exit codes: 0 done, 1 refused or different, 2 usage, 130 interrupted",
    )
    made.add_argument("show", nargs="*", metavar="show ID", help="show one case, with margins")
    made.add_argument("--write", type=Path, metavar="DIR", help="write all vectors into DIR")
    made.add_argument("--check", action="store_true", help="regenerate and compare bytes")
    made.add_argument("--list", action="store_true", help="one line per case")
    made.add_argument("--dir", type=Path, help="the folder to check or show (default: our own)")
    return made


def _run(options: argparse.Namespace) -> int:
    folder = options.dir or directory()
    start = time.perf_counter()

    def progress(text: str) -> None:
        print(f"[{time.perf_counter() - start:6.1f} s] {text}", flush=True)

    if options.write is not None or options.check:
        from quantcheck.corpus import generate

        if options.write is not None:
            generate.write(options.write, progress)
        else:
            generate.check(folder, progress)
        return OK
    if options.list:
        for case in load_all(folder):
            print(f"{case.id:<36} {case.operation:<20} {case.title}")
        return OK
    if len(options.show) == 2 and options.show[0] == "show":
        return _show(folder, options.show[1])
    print("quantcheck vectors: expected --write DIR, --check, --list or show ID", file=sys.stderr)
    return USAGE


def _show(folder: Path, identity: str) -> int:
    """Print one case, its arrays as tables and codes with their margins."""
    found = sorted(folder.glob(f"*/{identity}.json"))
    if not found:
        near = [p.stem for p in sorted(folder.glob("*/*.json")) if identity in p.stem]
        hint = f"; near: {', '.join(near[:8])}" if near else "; see quantcheck vectors --list"
        print(f"quantcheck: no case {identity!r}{hint}", file=sys.stderr)
        return FAILED
    case = load(found[0])
    print(f"{case.id}: {case.title}")
    print(f"  operation     {case.operation}")
    print(f"  requirements  {' '.join(case.requirements)}")
    for name, value in case.parameters.items():
        print(f"  {name:<13} {value}")
    for name, value in case.question(made=False)["inputs"].items():
        if "recipe" in value:
            print(f"  {name:<13} {value['recipe']}")
    for kind, values in (("input", case.inputs), ("expected", case.expected.get("outputs", {}))):
        for name, value in values.items():
            _print_value(f"{kind} {name}", value)
    for name, form in case.expected.get("forms", {}).items():
        print(f"\nexpected {name}  {form['dtype']} {tuple(form['shape'])}: by the certificate")
    if "refused" in case.expected:
        print(f"\nexpected: refused with {case.expected['refused']}")
    _print_margins(case)
    print(f"\nkills: {', '.join(case.kills) or 'no mutant'}")
    return OK


def _print_value(name: str, value: Any) -> None:
    for k, item in enumerate(value if isinstance(value, list) else [value]):
        label = f"{name}[{k}]" if isinstance(value, list) else name
        if isinstance(item, np.ndarray):
            print(f"\n{label}  {item.dtype.name} {item.shape}")
            text = np.array2string(item, max_line_width=100, threshold=400, precision=6)
            print("  " + text.replace("\n", "\n  "))
        else:
            print(f"\n{label}  {item}")


def _print_margins(case: Case) -> None:
    """Print margins, and how many codes are required of single and double precision."""
    judging = case.judging
    if "margins" not in judging:
        return
    margins = judging["margins"]
    _print_value("margins (codes to the nearest change of code)", margins)
    for name in ("required", "required_float32", "required_float64"):
        if name in judging:
            mask = judging[name]
            print(f"  {name}: {int(mask.sum())} of {mask.size} codes, smallest margin "
                  f"{float(margins.min()):.3g}")  # fmt: skip
