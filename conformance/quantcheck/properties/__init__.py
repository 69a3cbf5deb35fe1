"""Properties: statements that hold for every input, by section (SPEC.md, section 12).  [VER-070]

A property draws samples. Most samples are one question whose answer rational arithmetic gives, as
for a golden vector. A *law* needs no such oracle: it compares the answers to several questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantcheck.judge.verdict import Judgement
from quantcheck.spec.sections import SECTIONS
from quantcheck.wire.cases import Case

if TYPE_CHECKING:  # a run of vectors alone needs no Hypothesis, which takes long to import
    from hypothesis import strategies as st

Answers = Sequence[Mapping[str, Any]]
Law = Callable[[tuple[Case, ...], Answers, float], list[Judgement]]


@dataclass(frozen=True)
class Sizes:
    """The shapes of drawn inputs.

    Attributes
    ----------
    free : bool
        False: the few shapes of the vectors, so that a backend compiles little. True: any small
        shape.
    """

    free: bool = False

    def matrices(self) -> list[tuple[int, int]]:
        """Shapes (n_out, n_in) of weights."""
        if not self.free:
            return [(4, 16), (4, 24)]
        return [(n_out, n_in) for n_out in (1, 2, 4, 5) for n_in in (1, 2, 5, 8, 16, 23, 31)]


@dataclass(frozen=True)
class Sample:
    """One draw: questions, and the way in which their answers are judged.

    Attributes
    ----------
    cases : tuple of Case
    law : callable, optional
        Returns findings for (cases, decoded outputs, unit roundoff). Without it, each answer is
        judged by itself.
    """

    cases: tuple[Case, ...]
    law: Law | None = None


Sweep = Callable[[int], Sequence[Callable[[], Sample]]]


@dataclass(frozen=True)
class Property:
    """A statement that must hold for every draw.

    Attributes
    ----------
    id : str
        prop-SECTION-NAME.
    title : str
        The statement in one sentence.
    requirements : tuple of str
        The requirements that it judges; the first one fails if no more specific one does.
    draw : callable
        Returns a strategy of samples for `Sizes`.
    examples : int
        Number of samples that the default profile draws.
    sweep : callable, optional
        Returns for a seed what makes the samples of given sizes, small ones first. Every run asks
        them in place of drawn samples.
    """

    id: str
    title: str
    requirements: tuple[str, ...]
    draw: Callable[[Sizes], st.SearchStrategy[Sample]]
    examples: int = 15
    sweep: Sweep | None = None

    def __str__(self) -> str:
        return self.id

    @property
    def section(self) -> str:
        """Section of SPEC.md, lower case."""
        return self.id.split("-")[1]


def named(case: Case, identity: str) -> Case:
    """Return the case with an id that is a hash of its question."""
    question = {**case.question(), "id": ""}
    text = json.dumps(question, sort_keys=True, separators=(",", ":"))
    return replace(case, id=f"{identity}:{hashlib.sha256(text.encode()).hexdigest()[:12]}")


def single(
    identity: str,
    title: str,
    requirements: Sequence[str],
    draw: Callable[[Sizes], st.SearchStrategy[Case]],
    examples: int = 15,
) -> Property:
    """Return the property that the answer to every drawn case agrees with rational arithmetic."""

    def samples(sizes: Sizes) -> st.SearchStrategy[Sample]:
        return draw(sizes).map(
            lambda case: Sample((named(replace(case, requirements=tuple(requirements)), identity),))
        )

    return Property(identity, title, tuple(requirements), samples, examples)


def law(
    identity: str,
    title: str,
    requirements: Sequence[str],
    draw: Callable[[Sizes], st.SearchStrategy[tuple[Case, ...]]],
    holds: Law,
    examples: int = 10,
) -> Property:
    """Return the property that the answers to drawn questions satisfy a law."""

    def samples(sizes: Sizes) -> st.SearchStrategy[Sample]:
        return draw(sizes).map(
            lambda cases: Sample(
                tuple(named(replace(c, requirements=tuple(requirements)), identity) for c in cases),
                holds,
            )
        )

    return Property(identity, title, tuple(requirements), samples, examples)


def load(sections: Sequence[str] = SECTIONS) -> dict[str, Property]:
    """Return the properties of sections, by id, in the order of SPEC.md."""
    found: dict[str, Property] = {}
    for section in sections:
        module = import_module(f"quantcheck.properties.{section}")
        found.update({p.id: p for p in module.PROPERTIES})
    return found
