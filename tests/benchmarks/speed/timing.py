"""Contestants take turns, A B A B, so that what disturbs a machine disturbs all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_ROUNDS, MOST_ROUNDS = 3, 25
# A row takes about so long, where its least number of rounds allows.
ROW_SECONDS, QUICK_SECONDS = 20.0, 0.5
# Threads of BLAS keep their cores for a while after a call, to be at hand for the next one: those
# of the contestant before would be in the way.
PAUSE = 0.06

Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Contestant:
    """What is timed: `run` does it once and returns how many seconds it took."""

    name: str
    run: Callable[[], float]


def contestant(
    name: str, call: Callable[..., Any], prepare: Callable[[], tuple[Any, ...]] | None = None
) -> Contestant:
    """Return a contestant that times `call(*prepare())`; preparing is not timed.

    Examples
    --------
    >>> sleeper = contestant("sleeper", time.sleep, prepare=lambda: (0.01,))
    >>> sleeper.run() >= 0.01
    True
    """

    def run() -> float:
        arguments = () if prepare is None else prepare()
        start = time.perf_counter()
        result = call(*arguments)
        seconds = time.perf_counter() - start
        del result  # freeing it is not timed
        return seconds

    return Contestant(name, run)


@dataclass(frozen=True)
class Plan:
    """How many rounds a row has: as many as fit into `seconds`, or `rounds`."""

    seconds: float = ROW_SECONDS
    rounds: int | None = None
    tell: Callable[[str], None] = lambda _: None

    def count(self, first: float) -> int:
        """Return the number of rounds after a first one that took `first` seconds.

        Examples
        --------
        >>> Plan(20.0).count(2.0), Plan(20.0).count(100.0), Plan(20.0).count(1e-6)
        (10, 3, 25)
        >>> Plan(20.0, rounds=7).count(100.0)
        7
        """
        if self.rounds is not None:
            return self.rounds
        fitting = int(self.seconds / max(first, 1e-9))
        return min(max(fitting, LEAST_ROUNDS), MOST_ROUNDS)


def interleave(contestants: Sequence[Contestant], plan: Plan) -> Seconds:
    """Time every contestant once per round, and return the seconds of each, round by round.

    A first round warms up caches and pages. It counts only where it alone takes longer than the
    whole row should.

    Examples
    --------
    >>> turns = []
    >>> def once(name):
    ...     return Contestant(name, lambda: turns.append(name) or 1.0)
    >>> interleave([once("a"), once("b")], Plan(rounds=2))
    {'a': [1.0, 1.0], 'b': [1.0, 1.0]}
    >>> "".join(turns)  # the first two warm up
    'ababab'
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        plan.tell("warming up")
        warm = {c.name: _alone(c) for c in contestants}
        cost = sum(warm.values())
        rounds = plan.count(cost)
        kept = cost > plan.seconds
        times: Seconds = {name: [seconds] if kept else [] for name, seconds in warm.items()}
        for k in range(int(kept), rounds):
            plan.tell(f"round {k + 1} of {rounds}")
            for c in contestants:
                times[c.name].append(_alone(c))
    finally:
        if collecting:
            gc.enable()
    return times


def _alone(c: Contestant) -> float:
    """Time a contestant when the threads of the one before have gone to sleep."""
    time.sleep(PAUSE)
    return c.run()


def per_round(times: Seconds, ratio: Callable[[Mapping[str, float]], float]) -> list[float]:
    """Return the ratio of every round, each from times that were taken one after another.

    Examples
    --------
    >>> per_round({"ours": [1.0, 2.0], "theirs": [3.0, 8.0]}, lambda s: s["theirs"] / s["ours"])
    [3.0, 4.0]
    """
    rounds = len(next(iter(times.values())))
    return [ratio({name: seconds[k] for name, seconds in times.items()}) for k in range(rounds)]


def medians(times: Seconds) -> dict[str, float]:
    """Return the median seconds of every contestant."""
    return {name: statistics.median(seconds) for name, seconds in times.items()}
