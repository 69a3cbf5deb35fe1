"""Draws the samples of a property: the same for the same seed, whatever the target.  [VER-070]

Samples are drawn before anything is asked: the same questions can be written to a file and answered
elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from quantcheck.properties import Property, Sample, Sizes, load
from quantcheck.spec.sections import SECTIONS
from quantcheck.wire.cases import Case

SEED = 20221031


@dataclass(frozen=True)
class Draws:
    """How samples are drawn.

    Attributes
    ----------
    seed : int
        The same seed draws the same samples.
    free : bool
        Whether shapes are free: see `Sizes`.
    factor : float
        Times the number of examples that a property asks for.
    seconds : float
        Time budget of each property beyond its first samples.
    """

    seed: int = SEED
    free: bool = False
    factor: float = 1.0
    seconds: float = 0.0

    def following(self) -> Draws:
        """Return other draws of the same kind."""
        return replace(self, seed=self.seed + 1)

    def count(self, prop: Property) -> int:
        """How many samples of a property are drawn."""
        return max(1, round(prop.examples * self.factor))

    def to_json(self) -> dict[str, Any]:
        """Return what the report says about them."""
        return asdict(self)


def seed_of(prop: Property, base: int) -> int:
    """Return the seed of a property: others do not shift when one is added."""
    digest = hashlib.sha256(f"{base}:{prop.id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def draw(prop: Property, draws: Draws | None = None) -> list[Sample]:
    """Draw samples of a property: the same samples for the same draws."""
    found: list[Sample] = []

    def collect(sample: Sample) -> None:
        found.append(sample)

    walk(collect, prop, draws or Draws(), Phase.generate)
    return found


def walk(test: Callable[[Sample], None], prop: Property, draws: Draws, *phases: Phase) -> None:
    """Call `test` with the samples of a property, as Hypothesis draws them in these phases.

    What decides the draws is set here, whatever profile is loaded.
    """
    chosen = settings(
        settings.get_profile("default"),
        max_examples=draws.count(prop),
        database=None,
        deadline=None,
        derandomize=False,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    strategy = prop.draw(Sizes(draws.free))
    with _no_local_constants():
        seed(seed_of(prop, draws.seed))(chosen(given(strategy)(test)))()


@contextmanager
def _no_local_constants() -> Iterator[None]:
    """Keep Hypothesis from drawing numbers that it read in the source of imported modules.

    With them the same seed draws other samples in a process that imported other modules. A release
    of Hypothesis that does it elsewhere draws others again: the digest of the samples tells.
    """
    from hypothesis.internal.conjecture import providers

    names = ("_local_constants", "_get_local_constants", "CONSTANTS_CACHE")
    if not all(hasattr(providers, name) for name in names):
        yield
        return
    empty, cache = type(providers._local_constants), type(providers.CONSTANTS_CACHE)  # noqa: SLF001
    with patch.multiple(providers, _get_local_constants=empty, CONSTANTS_CACHE=cache(1024)):
        yield


def cases_of(sections: Iterable[str], draws: Draws) -> list[Case]:
    """Return every case that the properties of some sections ask, each id once."""
    wanted = [section for section in SECTIONS if section in set(sections)]
    found: dict[str, Case] = {}
    for prop in load(wanted).values():
        for sample in draw(prop, draws):
            found.update({case.id: case for case in sample.cases})
    return list(found.values())


def digest(samples: Iterable[Sample]) -> str:
    """Return a hash of what is asked: the same for the same draws.  [VER-070]"""
    ids = ",".join(case.id for sample in samples for case in sample.cases)
    return hashlib.sha256(ids.encode()).hexdigest()[:16]
