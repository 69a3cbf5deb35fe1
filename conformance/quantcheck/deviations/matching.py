"""Compares the failures of a run with what the causes of known deviations predict.  [VER-120]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from quantcheck.deviations.causes.cause import Asked
from quantcheck.deviations.declared import as_declared
from quantcheck.deviations.entries import Deviation
from quantcheck.judge.judgements import decode
from quantcheck.judge.verdict import Judgement, Verdict, known_deviation
from quantcheck.wire.cases import Case
from quantref.errors import QuantrefError

Question = tuple[Case, Mapping[str, Any]]  # a case, and the wire answer to it
FAILURES = (Verdict.FAIL, Verdict.ERROR)


class Matching:
    """The known deviations of one run, and which of them occurred.

    Parameters
    ----------
    entries : sequence of Deviation
        Those of the target's backend.
    unit_roundoff, factor_roundoff : float
        Those of the target.
    undeclared : frozenset of str
        The choices that the target does not declare: their failures are differences, and no entry
        may name them.
    order : str
        The target's order of calibration.
    declared : sequence of str
        Rules that the target declares: what they predict is a difference.

    Attributes
    ----------
    occurred : set of str
        Ids of entries whose prediction occurred.
    faults : dict
        Entries whose cause cannot be used, with the reason. They cover nothing.
    """

    def __init__(
        self,
        entries: Sequence[Deviation] = (),
        unit_roundoff: float = 2.0**-24,
        factor_roundoff: float | None = None,
        undeclared: frozenset[str] = frozenset(),
        order: str = "block",
        declared: Sequence[str] = (),
    ) -> None:
        self.entries = list(entries)
        self.undeclared = undeclared
        self.u, self.u_f, self.order = unit_roundoff, factor_roundoff, order
        names = [e.parameters["rule"] for e in entries if e.cause.name == "rule"]
        self.declared = tuple(declared)
        self.rules = tuple(dict.fromkeys([*declared, *names]))
        self.occurred: set[str] = set()
        self.faults: dict[str, str] = {}
        self._tested: set[str] = set()
        self._asked: list[tuple[Case, frozenset[str]]] = []

    def cover(
        self, questions: Sequence[Question], judgements: Sequence[Judgement]
    ) -> list[Judgement]:
        """Turn failures into differences by declared rules, or into known deviations.

        Parameters
        ----------
        questions : sequence of (case, wire answer)
            One, or those of a law, which all have to be as predicted.
        judgements : sequence of Judgement
        """
        if self.declared and any(j.verdict == Verdict.FAIL for j in judgements):
            asked = [self._decoded(question) for question in questions]
            judgements = as_declared(asked, judgements, self.declared)
        if not self.entries:
            return list(judgements)
        self._remember(questions, judgements)
        failed = {j.requirement for j in judgements if j.verdict in FAILURES}
        known = self._entries(questions, failed) if failed else {}
        if any(j.verdict == Verdict.DIFFERENCE for j in judgements):
            self._differing(questions)
        return [
            known_deviation(j, known[j.requirement].reason, known[j.requirement].link)
            if j.verdict in FAILURES and j.requirement in known
            else j
            for j in judgements
        ]

    def _differing(self, questions: Sequence[Question]) -> None:
        """Note which entries occur in answers that differ from a choice: they are not stale."""
        for question in questions:
            asked = self._decoded(question)
            if asked is None:
                continue
            for entry in self.entries:
                if entry.id not in self.occurred and self._explains(entry, asked):
                    self.occurred.add(entry.id)

    def explaining(self, question: Question, failed: set[str] | None = None) -> list[Deviation]:
        """Return the entries whose cause predicts an answer.

        `failed`: entries that name none of these requirements are left out; by default, none is.
        """
        asked = self._decoded(question)
        if asked is None:
            return []
        named = [e for e in self.entries if failed is None or failed.intersection(e.requirements)]
        return [entry for entry in named if self._explains(entry, asked)]

    def _entries(self, questions: Sequence[Question], failed: set[str]) -> dict[str, Deviation]:
        """Return an entry for each failed requirement that one covers; it has then occurred."""
        without = [question for question in questions if "outputs" not in question[1]]
        judged = without[:1] or list(questions)  # a law needs outputs: else the first one without
        # To one question only entries that cover a failure matter; to those of a law, any.
        of = failed if len(judged) == 1 else None
        found = [self.explaining(question, of) for question in judged]
        if len(judged) > 1 and not all(
            explained or self._as_ruled(question)
            for question, explained in zip(judged, found, strict=True)
        ):
            return {}
        covering = {entry.id: entry for explained in found for entry in explained}
        known: dict[str, Deviation] = {}
        for entry in covering.values():
            for requirement in failed.intersection(entry.requirements):
                self.occurred.add(entry.id)
                known.setdefault(requirement, entry)
        return known

    def _as_ruled(self, question: Question) -> bool:
        """Tell whether an answer to a question of a law is the one of all known rules."""
        from quantcheck.deviations.causes.rule import PREDICTED, predicted
        from quantcheck.deviations.causes.rules import Rules

        asked = self._decoded(question)
        if asked is None or asked.case.operation not in PREDICTED:
            return False
        with np.errstate(all="ignore"):
            return predicted(asked, Rules.named(self.rules))

    def _decoded(self, question: Question) -> Asked | None:
        case, answer = question
        try:
            decoded = decode(answer) if "outputs" in answer else dict(answer)
        except (QuantrefError, KeyError, TypeError):
            return None
        return Asked(case, decoded, self.u, self.u_f, self.rules, self.order)

    # Faults of causes

    def _explains(self, entry: Deviation, asked: Asked) -> bool:
        """Tell whether an entry's cause predicts the answer; a cause with a fault predicts none."""
        if entry.id in self.faults:
            return False
        try:
            explained = entry.cause.explains(asked, entry.parameters)
            if explained and entry.id not in self._tested:
                self._tested.add(entry.id)
                if any(entry.cause.explains(o, entry.parameters) for o in _altered(asked)):
                    self.faults[entry.id] = "it predicts an altered answer too"
        except Exception as error:  # noqa: BLE001 - a fault of a cause must not end the run
            self.faults[entry.id] = f"its predicate raised {type(error).__name__}: {error}"
        return explained if entry.id not in self.faults else False

    # Entries that no longer occur

    def _remember(self, questions: Sequence[Question], judgements: Sequence[Judgement]) -> None:
        """Keep questions that were answered and judged."""
        silent = (Verdict.UNSUPPORTED, Verdict.NOT_COVERED, Verdict.UNSTABLE)
        judged = frozenset(j.requirement for j in judgements if j.verdict not in silent)
        for case, answer in questions:
            if judged and "unsupported" not in answer and "broken" not in answer:
                self._asked.append((case, judged))

    def stale(self) -> list[Judgement]:
        """Return a judgement for each entry that names a choice, has a fault, or no longer occurs.

        An entry no longer occurs if questions were asked to which its cause predicts a wrong
        answer, and no answer was the predicted one.
        """
        made = []
        for entry in self.entries:
            fault = self.faults.get(entry.id)
            different = sorted(self.undeclared.intersection(entry.requirements))
            if different:
                message = (
                    f"deviation {entry.id}: expected requirements that the target is held to, got "
                    f"{', '.join(different)}: a difference needs no entry"
                )
                made.append(_stale(entry, Verdict.FAIL, message))
            elif fault is not None:
                message = f"deviation {entry.id}: expected a cause that can be used, but {fault}"
                made.append(_stale(entry, Verdict.ERROR, message))
            elif entry.id not in self.occurred:
                case = self._concerned(entry)
                if case is not None:
                    message = (
                        f"deviation {entry.id}: expected the answer that its cause predicts, as to "
                        f"{case.id}, got none: remove it from the file"
                    )
                    made.append(_stale(entry, Verdict.FAIL, message))
        return made

    def _concerned(self, entry: Deviation) -> Case | None:
        """Return a question that was asked and to which a cause predicts a wrong answer."""
        for case, judged in self._asked:
            if judged.intersection(entry.requirements) and self._asks(entry, case):
                return case
        return None

    @staticmethod
    def _asks(entry: Deviation, case: Case) -> bool:
        try:
            return entry.cause.asks(case, entry.parameters)
        except Exception:  # noqa: BLE001 - as above: nothing is said of this question
            return False


def _stale(entry: Deviation, verdict: Verdict, message: str) -> Judgement:
    requirement = entry.requirements[0]
    return Judgement(requirement, f"deviation {entry.id}", verdict, message, stale=True)


def _altered(asked: Asked) -> list[Asked]:
    """Return the question with answers that no cause may predict as well."""
    other = {"refused": "an answer that no cause predicts", "type": "NoSuchError"}
    made: list[Mapping[str, Any]] = [other, {"outputs": {}}]
    if "outputs" in asked.answer:
        moved = {name: _moved(value) for name, value in asked.answer["outputs"].items()}
        made.append({"outputs": moved})
    return [replace(asked, answer=answer) for answer in made]


def _moved(value: Any) -> Any:
    """Return an output in which every number is another one."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "iu":
            return value ^ np.asarray(1, value.dtype)
        wide = value.astype(np.float64)
        return np.where(np.isfinite(wide), -3 * wide - 7, 1.0).astype(value.dtype)
    if isinstance(value, list):
        return [_moved(item) for item in value]
    return {} if isinstance(value, dict) else None
