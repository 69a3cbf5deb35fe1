"""Draws the samples of a property: the seed alone decides them.  [VER-070]

All samples are drawn before the first question, so that the questions can also be written to a
file. A target that declares that it compiles gets fewer sizes, and the same samples otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from quantcheck.properties import Property, Sample, Sizes, Sweep, load
from quantcheck.spec.sections import SECTIONS
from quantcheck.wire.cases import Case

if TYPE_CHECKING:  # imported in functions: what draws nothing needs no Hypothesis
    from hypothesis import Phase

SEED = 20221031
COMPILED = 3  # a backend that compiles gets one of so many sizes in a row


@dataclass(frozen=True)
class Draws:
    """How samples are drawn.

    Attributes
    ----------
    seed : int
        The same seed draws the same samples.
    free : bool
        Whether any small shape is drawn, see `Sizes`.
    factor : float
        Factor of the number of examples of each property.
    seconds : float
        Time budget for further samples of each property.
    compiled : bool
        Whether the target compiles its code for each shape: it gets a third of the sizes.
    """

    seed: int = SEED
    free: bool = False
    factor: float = 1.0
    seconds: float = 0.0
    compiled: bool = False

    def next_draws(self) -> Draws:
        """Return the draws of the next seed."""
        return replace(self, seed=self.seed + 1)

    def count(self, prop: Property) -> int:
        """Return the number of samples that are drawn of a property."""
        return max(1, round(prop.examples * self.factor))

    def to_json(self) -> dict[str, Any]:
        """Return the fields for the report."""
        return asdict(self)


def seed_of(prop: Property, base: int) -> int:
    """Return the seed of a property, which does not depend on other properties."""
    digest = hashlib.sha256(f"{base}:{prop.id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def draw(prop: Property, draws: Draws | None = None) -> list[Sample]:
    """Draw the samples of a property; equal draws give equal samples.

    A property of sizes has a sample of each size. With a factor below 1, or for a target that
    compiles, it has some of the sizes, others for the next seed.
    """
    if prop.sweep is not None:
        return _swept(prop, prop.sweep, draws or Draws())
    from hypothesis import Phase

    found: list[Sample] = []

    def collect(sample: Sample) -> None:
        found.append(sample)

    walk(collect, prop, draws or Draws(), Phase.generate)
    return found


def _swept(prop: Property, sweep: Sweep, draws: Draws) -> list[Sample]:
    """Return one sample of every few sizes in a row, each time at another place in the row.

    The sizes n − 1, n and n + 1 are such a row.
    """
    makers = sweep(seed_of(prop, draws.seed))
    step = max(1, round(1 / draws.factor), COMPILED if draws.compiled else 1)
    step = min(step, len(makers))
    return [
        make()
        for row in range(0, len(makers), step)
        for make in makers[row : row + step][(draws.seed + row // step) % step :][:1]
    ]


def walk(test: Callable[[Sample], None], prop: Property, draws: Draws, *phases: Phase) -> None:
    """Call `test` with the samples of a property that Hypothesis draws in these phases.

    All settings that affect the draws are set here, so that the loaded profile has no effect.
    """
    from hypothesis import HealthCheck, Verbosity, given, seed, settings

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
    """Stop Hypothesis from drawing constants that it finds in the source of imported modules.

    With these constants the samples of a seed depend on the imported modules. If a later release of
    Hypothesis collects them elsewhere, the digests of the samples change.
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
    """Return a hash of the questions; equal draws give equal hashes.  [VER-070]"""
    ids = ",".join(case.id for sample in samples for case in sample.cases)
    return hashlib.sha256(ids.encode()).hexdigest()[:16]
