"""Shared by both parts of the self-test: the vectors, and answers instead of exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from quantcheck.judge.verdict import Verdict
from quantcheck.run import golden
from quantcheck.run.generated import Ask
from quantcheck.wire.cases import Case

U = {"float32": 2.0**-24, "float64": 2.0**-53}
BROKEN = (Verdict.FAIL, Verdict.ERROR)


@cache
def vectors() -> list[Case]:
    """Return every golden vector."""
    return list(golden.load().values())


def guarded(answer: Ask) -> Ask:
    """Return a function that answers an exception of `answer` as an error."""

    def guarded(question: dict[str, Any]) -> Mapping[str, Any]:
        try:
            with np.errstate(all="ignore"):
                return answer(question)
        except Exception as error:  # noqa: BLE001 - an exception of a mutant is a failure too
            return {"id": question["id"], "error": f"{type(error).__name__}: {error}"}

    return guarded
