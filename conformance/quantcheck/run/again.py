"""Asks a question again, in another process of the target: its bits have to be the same.  [VER-130]

A small share of the vectors that covers every requirement is asked again in each run, and so is a
failure before it counts. The other process was asked other questions before, so an answer may
depend on nothing but its question.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.run.pool import Pool, Reply, cost
from quantcheck.wire.cases import Case

ASKINGS = 3  # at most: the first, one in another process, and one more if that one broke
COSTLIEST = 200_000.0  # larger questions are not asked again without need
SECONDS = 30.0  # nor are those whose first answer took longer
SHOWN = 160  # characters
Question = Mapping[str, Any]
Answer = Mapping[str, Any]


def covering(cases: Iterable[Case]) -> set[str]:
    """Return the ids of a share of the cases: for each requirement and operation the smallest one.

    Examples
    --------
    >>> a, b = (Case(i, "rnd", "", "x", ("RND-010",), {}, {}, {}) for i in "ab")
    >>> sorted(covering([a, b]))
    ['a']
    """
    priced = [(cost(case.question()), case) for case in cases if not case.by_recipe]
    covered: set[tuple[str, str]] = set()
    share: set[str] = set()
    for price, case in sorted(priced, key=lambda pair: pair[0]):
        named = {(case.operation, requirement) for requirement in case.requirements}
        if price <= COSTLIEST and not named <= covered:
            covered |= named
            share.add(case.id)
    return share


class Again:
    """Asks another process of the target than the one that answered first.

    It gets the share as soon as the first answer came, while other questions are asked.

    Parameters
    ----------
    pool : Pool, optional
        The pool of several processes that answers first, or one of a further process. None for a
        file of answers, which gives every answer once.
    """

    def __init__(self, pool: Pool | None = None) -> None:
        self.pool = pool
        self._replies: dict[str, Future[Reply]] = {}
        self.share: set[str] = set()
        self.confirmed: set[str] = set()
        self.asked = 0

    def answered(self, question: Question, reply: Reply) -> None:
        """Take notice of a first answer: a question of the share is asked again in its turn."""
        wanted = question["id"] in self.share and "broken" not in reply.answer
        if self.pool is not None and wanted and reply.seconds <= SECONDS:
            self._replies[question["id"]] = self.pool.again(question)

    def wanted(self, identity: str, judgements: Sequence[Judgement]) -> bool:
        """Tell whether a question is in the share, or the first to fail some requirement."""
        return identity in self.share or bool(self._failing(judgements) - self.confirmed)

    def settle(
        self,
        first: Sequence[tuple[Question, Answer]],
        judgements: Sequence[Judgement],
        seconds: float = 0.0,
    ) -> list[Judgement]:
        """Ask questions again; all judgements are unstable if an answer differs in a bit.

        Parameters
        ----------
        first : sequence of (question, answer)
            A target that broke at one of these questions is not asked again.
        judgements : sequence of Judgement
        seconds : float
            Time until the first answers came.
        """
        failing = self._failing(judgements)
        broken = any("broken" in answer for _, answer in first)
        if self.pool is None or broken or (seconds > SECONDS and not failing):
            return list(judgements)
        for question, answer in first:
            said = self.difference(question, answer)
            if said:
                return [_unstable(j, said) for j in judgements]
        self.confirmed |= failing
        return list(judgements)

    def difference(self, question: Question, first: Answer) -> str:
        """Return how the answer of another process differs, empty if no bit does."""
        if "unsupported" in first:
            return ""
        second: Answer = {}
        for number in range(ASKINGS - 1):
            second = self._ask(question, number)
            if "broken" not in second:
                break
            if self.pool is None or not all(target.started for target in self.pool.targets):
                self.pool = None  # one gave no handshake: nothing can be compared
                return ""
        if _bits(first) == _bits(second):
            return ""
        return f"two processes gave different answers: {_compared(first, second)}"

    def _ask(self, question: Question, number: int) -> Answer:
        if self.pool is None:
            return {"broken": "a file cannot be asked again"}
        self.asked += 1
        asked = None if number else self._replies.get(question["id"])
        return (asked or self.pool.again(question)).result().answer

    @staticmethod
    def _failing(judgements: Sequence[Judgement]) -> set[str]:
        failures = (Verdict.FAIL, Verdict.ERROR)
        return {j.requirement for j in judgements if j.verdict in failures and not j.stale}


def _unstable(judgement: Judgement, said: str) -> Judgement:
    if judgement.verdict in (Verdict.UNSUPPORTED, Verdict.NOT_COVERED):
        return judgement
    kept = Judgement(judgement.requirement, judgement.case, Verdict.UNSTABLE, said)
    return replace(kept, evidence=judgement.evidence)


def _bits(answer: Answer) -> str:
    """Return what has to be equal: outputs to the last bit; of other answers the kind and type.

    Messages may name objects that are counted in each process.
    """
    if "outputs" in answer:
        return json.dumps(answer["outputs"], sort_keys=True)
    kind = next((k for k in ("refused", "unsupported", "error", "broken") if k in answer), "")
    return f"{kind} {answer.get('type', '')}"


def _compared(first: Answer, second: Answer) -> str:
    """Return both answers where they differ."""
    if "outputs" not in first or "outputs" not in second:
        return f"first {_short(first)}, then {_short(second)}"
    for name in first["outputs"]:
        one, two = first["outputs"][name], second["outputs"].get(name)
        if json.dumps(one) != json.dumps(two):
            return _elements(name, one, two)
    return f"first outputs {sorted(first['outputs'])}, then {sorted(second['outputs'])}"


def _elements(name: str, one: Any, two: Any) -> str:
    """Return the first element that differs, of arrays of one shape."""
    forms = [(v.get("dtype"), v.get("shape")) if isinstance(v, dict) else None for v in (one, two)]
    if None in forms or forms[0] != forms[1] or not isinstance(one.get("data"), list):
        return f"{name}: first {_short(one)}, then {_short(two)}"
    off = [i for i, (a, b) in enumerate(zip(one["data"], two["data"], strict=False)) if a != b]
    if not off:
        return f"{name}: signs of zeros differ"
    index = _unraveled(off[0], one["shape"])
    a, b = one["data"][off[0]], two["data"][off[0]]
    return f"{name}: {len(off)} of {len(one['data'])} differ; at {index} first {a}, then {b}"


def _unraveled(place: int, shape: Sequence[int]) -> list[int]:
    """Return the index of an element.

    Examples
    --------
    >>> _unraveled(5, (2, 3))
    [1, 2]
    """
    index: list[int] = []
    for size in reversed(shape):
        place, k = divmod(place, size)
        index.insert(0, k)
    return index


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {k: v for k, v in value.items() if k not in ("id", "trace")}
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
