"""Asks several processes of one target at the same time, the costliest questions first."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from quantcheck.errors import TargetCrashed, TargetError
from quantcheck.targets import Target

Question = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What came of one question.

    Attributes
    ----------
    answer : dict
        The wire answer; {"broken": message} where the target broke.
    stderr : str
        What a broken target left behind.
    seconds : float
    """

    answer: dict[str, Any]
    stderr: str
    seconds: float


class Pool:
    """Processes of one target.

    Parameters
    ----------
    targets : iterable of Target
        At least one; those that are not started start with their first question.

    Notes
    -----
    A question is identified by its id and asked once: the same id has the same answer.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        self.targets = list(targets)
        self._free: queue.Queue[Target] = queue.Queue()
        for target in self.targets:
            self._free.put(target)
        self._executor = ThreadPoolExecutor(len(self.targets), thread_name_prefix="quantcheck")
        self._replies: dict[str, Future[Reply]] = {}
        self._closed = threading.Event()

    def submit(self, questions: Iterable[Question]) -> None:
        """Start asking questions, those first that are expected to take longest."""
        for question in sorted(questions, key=cost, reverse=True):
            if question["id"] not in self._replies:
                future = self._executor.submit(self._ask, question)
                self._replies[question["id"]] = future

    def reply(self, question: Question) -> Reply:
        """Wait for what comes of a question, asking it now if nobody has."""
        future = self._replies.get(question["id"])
        return self.ask(question) if future is None else future.result()

    def ask(self, question: Question) -> Reply:
        """Ask now, before what waits, whether it was asked before or not."""
        return self._ask(question)

    def _ask(self, question: Question) -> Reply:
        target = self._free.get()
        began = time.monotonic()
        try:
            if self._closed.is_set():
                raise TargetCrashed("a running target", "the run is over")
            return Reply(target.ask(question), "", time.monotonic() - began)
        except TargetError as error:
            message = f"{type(error).__name__}: {error}"
            return Reply({"broken": message}, error.stderr, time.monotonic() - began)
        finally:
            self._free.put(target)

    def close(self) -> None:
        """Ask nothing more and close every target."""
        self._closed.set()
        self._executor.shutdown(wait=False, cancel_futures=True)
        for target in self.targets:
            target.close()


def cost(question: Question) -> float:
    """Return how costly a question is, in no unit: GPTQ grows with its columns squared."""
    sizes = [_elements(value) for value in question["inputs"].values()]
    heavy = question["operation"] in ("gptq_quantize", "model_quantize")
    return float(sum(sizes)) * (100.0 if heavy else 1.0)


def _elements(value: Any) -> int:
    if isinstance(value, list):
        return sum(_elements(item) for item in value)
    return math.prod(value["shape"]) if isinstance(value, dict) and "shape" in value else 1
