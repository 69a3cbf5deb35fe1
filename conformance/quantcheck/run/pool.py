"""Asks several processes of one target in parallel; questions of one shape go to one process."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from quantcheck.errors import TargetError
from quantcheck.targets import Target

Question = Mapping[str, Any]
Then = Callable[[Question, "Reply"], None]
COSTLY = 500_000.0  # as large as the model of a few layers, or GPTQ of a hundred columns
JOIN_LIMIT = 1.0  # seconds for a thread whose target was ended
HEAVY = {"gptq_quantize": 100.0, "quantize_model_gptq": 1000.0}  # times the elements of the inputs


@dataclass(frozen=True)
class Reply:
    """The reply to one question.

    Attributes
    ----------
    answer : dict
        The wire answer; {"broken": message} if the target broke.
    stderr : str
        The stderr of a target that broke.
    seconds : float
    """

    answer: dict[str, Any]
    stderr: str
    seconds: float


@dataclass(eq=False)
class _Waiting:
    """A question that no process has taken yet; process `apart` must not take it."""

    question: Question
    cost: float
    shape: Hashable
    future: Future[Reply] = field(default_factory=Future)
    then: Then | None = None
    apart: int | None = None


class Pool:
    """Processes of one target.

    Parameters
    ----------
    targets : iterable of Target
        At least one. A target that is not started starts with its first question.

    Notes
    -----
    A question is identified by its id and asked once, since the same id has the same answer.

    Each process of a compiling backend compiles every new shape. So a shape belongs to the first
    process that gets it. A free process takes the next question with one of its shapes or with a
    new shape. If there is none, it takes the last question that waits for another process.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        self.targets = list(targets)
        self._waiting: list[_Waiting] = []
        self._owners: dict[Hashable, int] = {}
        self._replies: dict[str, Future[Reply]] = {}
        self._answered: dict[str, int] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(
                target=self._serve, args=(number,), name=f"quantcheck-{number}", daemon=True
            )
            for number in range(len(self.targets))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, questions: Iterable[Question], then: Then | None = None) -> None:
        """Queue questions: the costly ones first, the others in the given order.

        Answers are judged in the same order while further questions are asked.

        Parameters
        ----------
        questions : iterable of dict
        then : callable, optional
            Called with each question and its reply, before `reply` returns it.
        """
        with self._changed:
            for question in questions:
                if question["id"] not in self._replies:
                    waiting = _Waiting(question, cost(question), shape(question), then=then)
                    self._replies[question["id"]] = waiting.future
                    self._waiting.append(waiting)
            self._waiting.sort(key=lambda w: w.cost if w.cost >= COSTLY else 0.0, reverse=True)
            self._changed.notify_all()

    def reply(self, identity: str, question: Callable[[], Question]) -> Reply:
        """Wait for the reply to a question; ask it now if it was not asked before."""
        future = self._replies.get(identity)
        return self.ask(question()) if future is None else future.result()

    def ask(self, question: Question) -> Reply:
        """Ask before all waiting questions, even if it was asked before."""
        return self._urgent(_Waiting(question, math.inf, None)).result()

    def again(self, question: Question) -> Future[Reply]:
        """Ask before all waiting questions, in another process than the first time.

        A pool of one process asks in that process.
        """
        apart = self._answered.get(question["id"]) if len(self.targets) > 1 else None
        return self._urgent(_Waiting(question, math.inf, None, apart=apart))

    def _urgent(self, urgent: _Waiting) -> Future[Reply]:
        with self._changed:
            self._waiting.insert(0, urgent)
            self._changed.notify_all()
        return urgent.future

    def close(self) -> None:
        """Ask no further questions, and close every target."""
        try:
            self._end()
            for target in self.targets:
                target.close()
            for thread in self._threads:
                thread.join(JOIN_LIMIT)
        finally:
            self.kill()

    def kill(self) -> None:
        """Ask no further questions, and kill every target without waiting."""
        self._end()
        for target in self.targets:
            target.kill()

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            for waiting in self._waiting:
                waiting.future.cancel()
            self._waiting.clear()
            self._changed.notify_all()

    # In the thread of a process

    def _serve(self, number: int) -> None:
        while (taken := self._next(number)) is not None:
            try:
                reply = _asked(self.targets[number], taken.question)
                self._answered.setdefault(taken.question["id"], number)
                if taken.then is not None:
                    taken.then(taken.question, reply)
                taken.future.set_result(reply)
            except Exception as error:  # noqa: BLE001 - the waiting thread raises it again
                taken.future.set_exception(error)

    def _next(self, number: int) -> _Waiting | None:
        """Wait for a question that the process may take; None if the pool is closed."""
        with self._changed:
            while not self._closed:
                taken = self._take(number)
                if taken is not None:
                    return taken
                self._changed.wait()
        return None

    def _take(self, number: int) -> _Waiting | None:
        """Choose a waiting question for a free process; None if it may take none."""
        last = (w for w in reversed(self._waiting) if w.apart != number)
        own = (w for w in self._waiting
               if w.apart != number and self._owners.get(w.shape, number) == number)  # fmt: skip
        taken = next(own, None) or next(last, None)
        if taken is None:
            return None
        self._waiting.remove(taken)
        if taken.shape is not None:
            self._owners.setdefault(taken.shape, number)
        return taken


def _asked(target: Target, question: Question) -> Reply:
    began = time.monotonic()
    try:
        return Reply(target.ask(question), "", time.monotonic() - began)
    except TargetError as error:
        message = f"{type(error).__name__}: {error}"
        return Reply({"broken": message}, error.stderr, time.monotonic() - began)


def cost(question: Question) -> float:
    """Return a relative cost of a question; GPTQ processes every column."""
    sizes = [_elements(value) for value in question["inputs"].values()]
    return float(sum(sizes)) * HEAVY.get(question["operation"], 1.0)


def shape(question: Question) -> Hashable:
    """Return a key that is equal for questions for which a backend compiles the same code."""
    inputs = tuple((name, _shape(value)) for name, value in sorted(question["inputs"].items()))
    return question["operation"], inputs


def _elements(value: Any) -> int:
    if isinstance(value, list):
        return sum(_elements(item) for item in value)
    return math.prod(value["shape"]) if isinstance(value, dict) and "shape" in value else 1


def _shape(value: Any) -> Hashable:
    if isinstance(value, list):
        return frozenset(_shape(item) for item in value)  # layers of a model, of any number
    if isinstance(value, dict) and "shape" in value:
        return (value["dtype"], *value["shape"])
    return ()
