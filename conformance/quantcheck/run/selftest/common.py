"""What both halves of the self-test share: the vectors, and answers that never break down."""

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
    """Turn what a mutant breaks down with into an answer."""

    def guarded(question: dict[str, Any]) -> Mapping[str, Any]:
        try:
            with np.errstate(all="ignore"):
                return answer(question)
        except Exception as error:  # noqa: BLE001 - a mutant may break down, that shows it too
            return {"id": question["id"], "error": f"{type(error).__name__}: {error}"}

    return guarded
