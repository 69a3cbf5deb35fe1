"""Counts of the table's cells, and the whole table as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from string import ascii_letters
from typing import Any

from quantcheck.interface import axes
from quantcheck.interface.rules import GAPS, RULES, Cell, Row
from quantcheck.interface.table import CASE, OUTCOMES, PROPERTY, Outcome, Table

FORMAT = 2
MARKS = {CASE: "C", PROPERTY: "P"}
LETTERS = [c for c in ascii_letters if c not in MARKS.values()]
REASONS = tuple(dict.fromkeys(each.reason for each in (*RULES, *GAPS)))
LETTER_OF = dict(zip(REASONS, LETTERS, strict=False))

Counts = dict[str, Counter[str]]


@dataclass
class Block:
    """Covered cells of a row: every one of some kinds of layer, policies and uses.

    Attributes
    ----------
    layers, policies, uses : list of str
    outcome : Outcome
    """

    layers: list[str]
    policies: list[str]
    uses: list[str]
    outcome: Outcome


@dataclass
class RowSummary:
    """A row with its counts, the cells that something covers, and a letter for every cell.

    Attributes
    ----------
    row : Row
    counts : Counter
        Number of cells by outcome.
    covered : list of (Cell, Outcome)
    letters : dict
        By kind of layer, a word for each policy: a letter for each use.
    """

    row: Row
    counts: Counter[str] = field(default_factory=Counter)
    covered: list[tuple[Cell, Outcome]] = field(default_factory=list)
    letters: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def grouped(self) -> dict[tuple[str, ...], list[str]]:
        """Return the kinds of layer by their words, so that equal ones take one line."""
        made: dict[tuple[str, ...], list[str]] = {}
        for layer, words in self.letters.items():
            made.setdefault(words, []).append(layer)
        return made

    def blocks(self) -> list[Block]:
        """Return what is covered; kinds of layer with the same policies, uses and ids together."""
        by_layer: dict[tuple[str, Outcome], dict[str, list[str]]] = {}
        for cell, outcome in self.covered:
            of_layer = by_layer.setdefault((cell.layer, outcome), {})
            of_layer.setdefault(cell.policy, []).append(cell.use)
        made: dict[tuple[Outcome, str], Block] = {}
        for (layer, outcome), uses in by_layer.items():
            policies: dict[tuple[str, ...], list[str]] = {}
            for policy, each in uses.items():
                policies.setdefault(tuple(each), []).append(policy)
            for together, names in policies.items():
                key = (outcome, f"{names} {together}")
                made.setdefault(key, Block([], names, list(together), outcome)).layers.append(layer)
        return list(made.values())


@dataclass
class Summary:
    """Number of cells by outcome: in all, and by each axis.

    Attributes
    ----------
    rows : list of RowSummary
    total, reasons : Counter
        Cells by outcome, and by reason.
    by : dict
        For "signatures", "operations", "layers", "policies" and "uses": name to counts.
    """

    rows: list[RowSummary] = field(default_factory=list)
    total: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    by: dict[str, Counts] = field(default_factory=dict)


AXES: Mapping[str, Callable[[Cell], str]] = {
    "signatures": lambda cell: cell.row.signature.name,
    "operations": lambda cell: cell.row.operation,
    "layers": lambda cell: cell.layer,
    "policies": lambda cell: cell.policy,
    "uses": lambda cell: cell.use,
}


def summary_of(table: Table) -> Summary:
    """Count the cells of a table."""
    made = Summary(by={name: defaultdict(Counter) for name in AXES})
    for row in table.rows:
        made.rows.append(_row(table, row, made))
    return made


def _row(table: Table, row: Row, into: Summary) -> RowSummary:
    made = RowSummary(row)
    for layer in axes.LAYERS:
        words = []
        for policy in axes.POLICIES:
            word = ""
            for use in axes.USES:
                cell = Cell(row, policy, layer, use)
                outcome = table.outcome(cell)
                word += MARKS.get(outcome.kind) or LETTER_OF[outcome.reason]
                if outcome.by:
                    made.covered.append((cell, outcome))
                _count(into, cell, outcome)
                made.counts[outcome.kind] += 1
            words.append(word)
        made.letters[layer] = tuple(words)
    return made


def _count(into: Summary, cell: Cell, outcome: Outcome) -> None:
    into.total[outcome.kind] += 1
    if outcome.reason:
        into.reasons[outcome.reason] += 1
    for name, of in AXES.items():
        into.by[name][of(cell)][outcome.kind] += 1


def to_json(made: Summary) -> dict[str, Any]:
    """Return the table as plain JSON.

    Each row has `cells`: by kind of layer a word for each policy, and in the word a letter for each
    use. C is a case, P a property, and any other letter a reason.
    """
    return {
        "format": FORMAT,
        "counts": _ordered(made.total),
        **{f"by_{name}": {n: _ordered(c) for n, c in made.by[name].items()} for name in AXES},
        "reasons": [
            {"letter": LETTER_OF[reason], "reason": reason, "cells": made.reasons[reason]}
            for reason in REASONS
        ],
        "policies": list(axes.POLICIES),
        "uses": axes.USES,
        "operations": axes.OPERATIONS,
        "rows": [
            {
                **dict(zip(("name", "argument", "kind", "operation"), each.row.key, strict=True)),
                "counts": _ordered(each.counts),
                "covered": [
                    {
                        "layers": block.layers,
                        "policies": block.policies,
                        "uses": block.uses,
                        "outcome": block.outcome.kind,
                        "by": list(block.outcome.by),
                    }
                    for block in each.blocks()
                ],
                "cells": {layer: list(words) for layer, words in each.letters.items()},
            }
            for each in made.rows
        ],
    }


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return {kind: counts[kind] for kind in OUTCOMES}
