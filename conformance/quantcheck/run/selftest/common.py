"""Shared by both parts of the self-test: the vectors, and answers instead of exceptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from quantcheck.judge.verdict import Verdict
from quantcheck.run import golden
from quantcheck.run.generated import Ask
from quantcheck.targets.reference import operations
from quantcheck.targets.variants import Variant
from quantcheck.wire.cases import Case

U = {"float32": 2.0**-24, "float64": 2.0**-53}
BROKEN = (Verdict.FAIL, Verdict.ERROR)


@cache
def vectors() -> list[Case]:
    """Return every golden vector that each run asks."""
    return [case for case in golden.load().values() if not case.large]


def guarded(answer: Ask) -> Ask:
    """Return a function that answers an exception of `answer` as an error."""

    def guarded(question: dict[str, Any]) -> Mapping[str, Any]:
        try:
            with np.errstate(all="ignore"):
                return answer(question)
        except Exception as error:  # noqa: BLE001 - an exception of a mutant is a failure too
            return {"id": question["id"], "error": f"{type(error).__name__}: {error}"}

    return guarded


def answers_of(
    variants: Sequence[Variant], question: dict[str, Any]
) -> Iterator[tuple[Variant, Mapping[str, Any]]]:
    """Yield the answer of each variant to one question; that of the reference is made once."""
    given = guarded(operations.answer)(question)
    for variant in variants:
        if "error" in given:
            yield variant, given
        else:
            yield variant, guarded(partial(variant.answer_like, dict(given)))(question)
