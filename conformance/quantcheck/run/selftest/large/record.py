"""What one large problem shows, as plain JSON, and what follows from many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantcheck.run.selftest.large.honest import implementations, observe
from quantcheck.run.selftest.large.problems import DRAWS, Large
from quantcheck.run.selftest.large.wrong import SPECIAL, deviations, find, find_special
from quantref.certificate import U32
from quantref.gptq import BLOCK_SIZE

FORMAT = 2
REACHED_FROM = 0.05
ALWAYS_FOUND = (
    "ranges of the original weights",
    "ranges of live weights",
    "one scale off by 0.01",
    "one zero-point off by one",
    "feedback in bfloat16",
    "last column of a block not fed back",
    "blocks of 127",
    "one code moved by one",
    *SPECIAL,
)
"""Deviations that every draw shows in matrices of several column blocks, with a factor declared in
double precision. In one block some of them change nothing."""

Record = dict[str, Any]
"""kind, n_in, condition, group_size
    Of the problem.
right
    For each precision of the factor, "float32" and "float64": the verdict of each implementation;
    `reached`, the largest observed ÷ bound by requirement and column block; `failures`.
wrong
    For each deviation the draws in which it is found, with a factor declared in float32 and in
    float64.
"""


def record_of(problem: Large) -> Record:
    """Judge right and wrong answers to one problem."""
    right: dict[str, Any] = {
        name: {"verdicts": {}, "reached": {}, "failures": []} for name in ("float32", "float64")
    }
    for implementation in implementations():
        observed = observe(problem, implementation)
        if observed is None:
            continue
        own = right["float32" if implementation.factor_roundoff == U32 else "float64"]
        own["verdicts"][implementation.id] = observed.verdict
        own["failures"] += [f"{implementation.id}: {text}" for text in observed.failures]
        for name, ratio in observed.ratios.items():
            own["reached"][name] = max(own["reached"].get(name, 0.0), float(f"{ratio:.3g}"))
    wrong = {one.id: find(problem, one) for one in deviations()}
    if problem.group_size != -1:
        wrong |= find_special(problem)
    found = {name: [draws.single, draws.double] for name, draws in wrong.items() if draws}
    return {**problem.about(), "right": right, "wrong": found}


def alarms(records: Sequence[Record]) -> list[str]:
    """Return the failures of right answers."""
    return [
        f"{text} ({_about(record)})"
        for record in records
        for own in record["right"].values()
        for text in own["failures"]
    ]


def unreached_bounds(records: Sequence[Record]) -> list[str]:
    """Return bounds that no implementation with one precision of the factor comes near to.

    Each requirement and column block is looked at for itself, for each number of columns and
    condition. CERT-110 is about the certificate's own arithmetic, whatever factor an implementation
    has.

    Examples
    --------
    >>> reached = {"CERT-010 first": 0.3, "CERT-010 later": 0.01}
    >>> record = {"n_in": 16, "condition": 1e3, "right": {"float32": {"reached": reached}}}
    >>> unreached_bounds([record])
    ['CERT-010 later, 16 columns, condition 1000, factor in float32']
    """
    largest: dict[str, float] = {}
    for record in records:
        for factor, own in record["right"].items():
            for name, ratio in own["reached"].items():
                place = f"{name}, {record['n_in']} columns, condition {record['condition']:g}"
                if name != "CERT-110":
                    place += f", factor in {factor}"
                largest[place] = max(largest.get(place, 0.0), ratio)
    return [place for place, ratio in largest.items() if ratio < REACHED_FROM]


def missed_deviations(records: Sequence[Record]) -> list[str]:
    """Return those of `ALWAYS_FOUND` that some draw hides, with a factor in double precision.

    Examples
    --------
    >>> record = {"kind": "mean", "n_in": 160, "condition": 10.0, "group_size": -1}
    >>> missed_deviations([{**record, "wrong": {"blocks of 127": [3, DRAWS - 1]}}])
    ['blocks of 127: found in 9 of 10 draws (mean, 160 columns, condition 10, one group)']
    """
    return [
        f"{name}: found in {draws[1]} of {DRAWS} draws ({_about(record)})"
        for record in records
        for name, draws in record["wrong"].items()
        if record["n_in"] > BLOCK_SIZE and name in ALWAYS_FOUND and draws[1] < DRAWS
    ]


def _about(record: Record) -> str:
    size = record["group_size"]
    groups = "one group" if size == -1 else f"groups of {size}"
    return (
        f"{record['kind']}, {record['n_in']} columns, condition {record['condition']:g}, {groups}"
    )
