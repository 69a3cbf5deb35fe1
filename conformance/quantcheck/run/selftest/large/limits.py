"""Detection limits: the smallest deviations that are found, as the tables of SPEC.md, section 8."""

from __future__ import annotations

from collections.abc import Sequence

from quantcheck.run.selftest.large.problems import KINDS
from quantcheck.run.selftest.large.record import Record
from quantcheck.run.selftest.large.tables import ENOUGH

Ladder = dict[str, tuple[str, ...]]  # sizes, from large to small, and their deviations

LADDERS: dict[str, Ladder] = {
    "one scale off by": {
        "10⁻²": ("one scale off by 0.01",),
        "10⁻³": ("one scale off by 0.001",),
        "10⁻⁴": ("one scale off by 0.0001",),
        "10⁻⁵": ("one scale off by 1e-05",),
    },
    "damping off by": {
        "10 %": ("damping off by 10.0%",),
        "1 %": ("damping off by 1.0%",),
        "0.1 %": ("damping off by 0.1%",),
    },
    "another window, share of tokens": {
        "1/128": ("a window more, 1/128 of the tokens", "a window less, 1/128 of the tokens"),
        "1/1024": ("a window more, 1/1024 of the tokens",),
        "1/8192": ("a window more, 1/8192 of the tokens",),
    },
    "feedback or products in": {
        "bfloat16": ("feedback in bfloat16",),
        "float16": ("feedback in float16",),
        "TF32": ("products in TF32",),
    },
}


def limits_of_all_kinds(records: Sequence[Record]) -> list[str]:
    """Return the lines of the table of sizes and groups for which every kind was judged."""
    kept = [r for r in records if _values_among_like(records, r, "kind") == set(KINDS)]
    return _table(kept, ("n_in", "condition"))


def limits_by_group(records: Sequence[Record]) -> list[str]:
    """Return the lines of the table of sizes at which several sizes of groups were judged.

    They are those of problems in a random basis.
    """
    rotated = [r for r in records if r["kind"] == "rotated"]
    kept = [r for r in rotated if len(_values_among_like(rotated, r, "group_size")) > 1]
    return _table(kept, ("n_in", "condition", "group_size"))


def _values_among_like(records: Sequence[Record], one: Record, name: str) -> set[str | int]:
    """Return the values of `name` among problems that are otherwise like one."""
    same = {"kind", "n_in", "condition", "group_size"} - {name}
    return {r[name] for r in records if all(r[key] == one[key] for key in same)}


def _values(records: Sequence[Record], *names: str) -> list[tuple[int | float, ...]]:
    """Return the values that occur, in order."""
    found = {tuple(r[name] for name in names) for r in records}
    return sorted(found, key=lambda values: [abs(v) if v != -1 else float("inf") for v in values])


def _table(records: Sequence[Record], names: tuple[str, ...]) -> list[str]:
    heads = ["group" if name == "group_size" else name for name in names] + [*LADDERS]
    lines = [heads, ["---"] * len(heads)]
    for values in _values(records, *names):
        own = [r for r in records if tuple(r[name] for name in names) == values]
        told = [_text(name, value) for name, value in zip(names, values, strict=True)]
        told += [
            f"{smallest_found(own, ladder, 0)} / {smallest_found(own, ladder, 1)}"
            for ladder in LADDERS.values()
        ]
        lines.append(told)
    joined = [f"| {' | '.join(line)} |" for line in lines]
    return [joined[0], joined[1].replace(" ", ""), *joined[2:]]


def _text(name: str, value: float) -> str:
    if name == "condition":
        return {1e1: "10", 1e3: "10³", 1e6: "10⁶"}.get(value, f"{value:g}")
    return "all" if value == -1 else str(value)


def smallest_found(records: Sequence[Record], ladder: Ladder, factor: int) -> str:
    """Return the smallest size from which on all are found in every problem; "–" if none is.

    `factor`: 0 for a factor declared in float32, 1 for one in float64.

    Examples
    --------
    >>> ladder = {"10 %": ("large",), "1 %": ("small",)}
    >>> found = {"large": [10, 10], "small": [3, 9]}
    >>> smallest_found([{"wrong": found}], ladder, 0), smallest_found([{"wrong": found}], ladder, 1)
    ('10 %', '1 %')
    """
    smallest = "–"
    for size, names in ladder.items():
        if any(r["wrong"][name][factor] < ENOUGH for r in records for name in names):
            break
        smallest = size
    return smallest
