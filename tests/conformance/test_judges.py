"""The table of judges: each judge reports exactly the requirements of its row.

Every judge judges right answers, answers of mutants, and damaged answers.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantcheck import mutants
from quantcheck.judge.findings import Judging
from quantcheck.judge.judgements import decode as read
from quantcheck.judge.judges import JUDGES, TABLE, judge
from quantcheck.properties import load
from quantcheck.run.draws import draw
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets.reference import operations
from quantcheck.wire.arrays import decode, encode
from quantcheck.wire.cases import Case
from quantref.errors import QuantrefError

U32 = 2.0**-24
DAMAGED = 24  # cases of an operation whose answers are damaged; certificates take long
Reported = Mapping[str, set[str]]


def decoded(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    return read(answer) if "outputs" in answer or "refused" in answer else None


def damaged(case: Case, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Answers with one output changed in many ways; a refusal, and none where one is due."""
    yield {"outputs": {}} if "refused" in answer else {"refused": "no"}
    for name, value in answer.get("outputs", {}).items():
        for other in _changed(value):
            yield {"outputs": {**answer["outputs"], name: other}}
        if case.operation != "gptq_quantize" and isinstance(value, np.ndarray) and value.size:
            for other in _in_other_order(value):  # its codes are not packed
                yield {"outputs": {**answer["outputs"], name: other}}
        if name == "values" and "bias" in case.inputs:
            yield {"outputs": {**answer["outputs"], name: value - case.inputs["bias"]}}


def _changed(value: Any) -> Iterator[Any]:
    if isinstance(value, np.ndarray) and value.size:
        yield value.astype(np.float64 if value.dtype != np.float64 else np.float32)
        with np.errstate(all="ignore"):
            yield value + value.dtype.type(1)
            if value.dtype.kind == "f":
                yield -value
        yield np.roll(value, 1)
        yield value.max(keepdims=True)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, list):
        yield encode([item + item.dtype.type(1) for item in decode(value)])
    elif isinstance(value, dict):
        for key in value:
            yield {**value, key: "something else"}
            if isinstance(value[key], dict) and "fields" in value[key]:
                nested = {**value[key]["fields"], "axis": None}
                yield {**value, key: {**value[key], "fields": nested}}


def _in_other_order(value: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Fields of a byte read from the other end: two or four of them, along each axis."""
    for axis, per_byte in itertools.product(range(value.ndim), (2, 4)):
        moved = np.moveaxis(value, axis, 0)
        whole = len(moved) - len(moved) % per_byte
        fields = moved[:whole].reshape(-1, per_byte, *moved.shape[1:])[:, ::-1]
        turned = np.concatenate([fields.reshape(-1, *moved.shape[1:]), moved[whole:]])
        yield np.moveaxis(turned, 0, axis)


@pytest.fixture(scope="module")
def cases(cases: dict[str, Case]) -> dict[str, Case]:
    """The vectors, and drawn cases of operations that no vector has."""
    drawn = [case for s in draw(load(["cal"])["prop-cal-crossed"]) for case in s.cases]
    return cases | {case.id: case for case in drawn if len(case.judging["dataset_tokens"]) < 1000}


@pytest.fixture(scope="module")
def smallest(cases: dict[str, Case]) -> dict[tuple[str, str], Case]:
    """The smallest vector of each operation that kills each mutant."""
    found: dict[tuple[str, str], Case] = {}
    few = (case for case in cases.values() if not case.by_recipe)
    for case in sorted(few, key=lambda c: len(str(c.question()))):
        for mutant in case.kills:
            found.setdefault((case.operation, mutant), case)
    return found


@pytest.fixture(scope="module")
def reported(
    cases: dict[str, Case], smallest: dict[tuple[str, str], Case]
) -> tuple[Reported, Reported]:
    """The requirements that each operation's judge judged, and those that failed."""
    spoken: dict[str, set[str]] = defaultdict(set)
    failed: dict[str, set[str]] = defaultdict(set)

    def take(case: Case, answer: dict[str, Any] | None) -> None:
        if answer is None:
            return
        try:
            with np.errstate(all="ignore"):
                findings = judge(case, answer, unit_roundoff=U32)
        except (QuantrefError, ArithmeticError, IndexError, TypeError, ValueError):
            return  # no answer at all, which is an error of the target
        failed[case.operation] |= {f.requirement for f in findings if not f.passed}

    taken: Counter[str] = Counter()
    blame = Judging.blame

    def noted(self: Judging, requirement: str) -> str:
        spoken[self.case.operation].add(requirement)
        return blame(self, requirement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judging, "blame", noted)
        for case in cases.values():
            if case.by_recipe:
                continue  # the judge is that of the other cases, and a certificate takes long
            right = decoded(operations.answer(case.question()))
            take(case, right)
            assert right is not None
            taken[case.operation] += 1
            for wrong in damaged(case, right) if taken[case.operation] <= DAMAGED else ():
                take(case, wrong)
        for (_, mutant), case in smallest.items():
            take(case, decoded(answer_of(mutant)(case.question())))
    return spoken, failed


def answer_of(mutant: str) -> Callable[[dict[str, Any]], Mapping[str, Any]]:
    broken = mutants.load(mutant)

    def answer(question: dict[str, Any]) -> Mapping[str, Any]:
        try:
            with np.errstate(all="ignore"):
                return broken.answer(question)
        except Exception as error:  # noqa: BLE001 -- a mutant may break down
            return {"error": repr(error)}

    return answer


def test_every_operation_has_one_row(cases: dict[str, Case]) -> None:
    assert len(TABLE) == len(JUDGES)
    assert {case.operation for case in cases.values()} == set(JUDGES)
    assert list(dict.fromkeys(row.section for row in TABLE)) == list(SECTIONS)
    for case in cases.values():
        of_int4 = case.parameters.get("class") == "Int4QuantizationConfig"
        assert case.section == ("four" if of_int4 else JUDGES[case.operation].section), case.id


@pytest.mark.everything
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.operation)
def test_a_judge_reports_what_its_row_declares(row: Any, reported: Any) -> None:
    spoken, failed = reported
    assert spoken[row.operation] | failed[row.operation] <= set(row.requirements)


@pytest.mark.everything
@pytest.mark.requirement("VER-090")
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.operation)
def test_a_judge_can_find_broken_what_its_row_declares(row: Any, reported: Any) -> None:
    _, failed = reported
    assert set(row.requirements) <= failed[row.operation]
