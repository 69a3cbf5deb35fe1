"""Finds the rules of appendix A that together predict the answers of a target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from quantcheck.deviations.causes.cause import Asked
from quantcheck.deviations.causes.rule import PREDICTED, predicted
from quantcheck.deviations.causes.rules import FIELDS, RULES, Rules
from quantcheck.deviations.matching import Question
from quantcheck.judge.judgements import decode
from quantref.errors import QuantrefError

MOST = 40  # questions of each operation that are tried, of all sizes: each rule moves many answers
LARGEST = 10_000  # elements of their inputs


def rules_of(
    questions: Iterable[Question],
    start: Sequence[str],
    unit_roundoff: float,
    factor_roundoff: float | None,
) -> list[str]:
    """Return the names of rules that predict as many answers as possible, with few rules.

    The search begins with `start`, or with every rule of the profile of Keras, and changes one rule
    at a time as long as more answers are predicted.
    """
    asked = list(_asked(questions, unit_roundoff, factor_roundoff))
    if not asked:
        return []
    chosen = list(start) or _first_of_each_field()
    best = _score(asked, chosen)
    while True:
        scored = [(_score(asked, other), -len(other), other) for other in _neighbours(chosen)]
        score, _, other = max(scored, key=lambda each: each[:2])
        if (score, -len(other)) <= (best, -len(chosen)):
            return chosen if best else []
        best, chosen = score, other


def _first_of_each_field() -> list[str]:
    names: dict[str, str] = {}
    for name, (field, _) in FIELDS.items():
        names.setdefault(field, name)
    return [name for field, name in names.items() if field not in ("base", "groups")]


def _neighbours(chosen: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rules with one left out, or one more; a rule replaces another of its field."""
    for name in chosen:
        yield [other for other in chosen if other != name]
    for name in RULES:
        if name not in chosen:
            field = FIELDS.get(name, ("", None))[0]
            kept = [o for o in chosen if not field or FIELDS.get(o, (o, None))[0] != field]
            yield [*kept, name]


def _score(asked: Sequence[Asked], names: Sequence[str]) -> int:
    rules = Rules.named(names)
    with np.errstate(all="ignore"):
        return sum(predicted(each, rules) for each in asked)


def _asked(questions: Iterable[Question], u: float, u_f: float | None) -> Iterator[Asked]:
    """Yield some questions of each operation that rules are about, evenly spaced by size."""
    wanted = [(case, answer) for case, answer in questions if "outputs" in answer]
    for operation in PREDICTED:
        of_it = [each for each in wanted if each[0].operation == operation and not each[0].large]
        small = sorted((e for e in of_it if _size(e[0].inputs) <= LARGEST), key=_size_of)
        for case, answer in small[:: max(1, len(small) // MOST)]:
            try:
                yield Asked(case, decode(answer), u, u_f)
            except (QuantrefError, KeyError, TypeError):
                continue


def _size_of(question: Question) -> int:
    return _size(question[0].inputs)


def _size(inputs: Mapping[str, object]) -> int:
    return sum(int(np.size(value)) for value in inputs.values() if isinstance(value, np.ndarray))
