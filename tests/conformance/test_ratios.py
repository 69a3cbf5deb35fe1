"""Observed ÷ bound is collected from findings as they are."""

from __future__ import annotations

from quantcheck.ratios import Bound, largest, loose
from quantcheck.variants import find
from quantref import vectors
from quantref.compare import Finding, judge
from quantref.vectors import decode


def test_collects_the_largest() -> None:
    findings = [
        Finding("AFF-040", True, "scale: one", "a", observed=1.0, bound=4.0),
        Finding("AFF-040", True, "scale: two", "b", observed=1.0, bound=2.0),
        Finding("AFF-060", True, "zero_point: none", "b"),
    ]
    bound = Bound("AFF-040", "affine_parameters", "scale")
    operations = dict.fromkeys("ab", "affine_parameters")
    first = largest(findings[:1], operations)
    both = largest(findings[1:], operations, first)
    assert (first[bound].ratio, first[bound].case) == (0.25, "a")
    assert (both[bound].ratio, both[bound].case, both[bound].cases) == (0.5, "b", 2)
    assert list(both) == [bound]
    assert loose(both) == []
    assert loose(both, below=0.6) == [bound]


def test_bounds_that_bite() -> None:
    """Single precision comes near the bounds of scales; s·(q − z) rounds once, as expected."""
    variant = find("float32-reciprocal")
    cases = [c for c in vectors.load_all() if c.section in ("aff", "abs")]
    findings = [
        finding
        for case in cases
        for finding in judge(case, decode(variant.answer(case.question())), unit_roundoff=2.0**-24)
    ]
    ratios = largest(findings, {case.id: case.operation for case in cases})
    assert {bound.requirement for bound in ratios} >= {"AFF-040", "ABS-010", "AFF-080", "ABS-080"}
    measured = {b: r for b, r in ratios.items() if b.name in ("scale", "values")}
    assert [bound.requirement for bound in loose(measured)] == ["AFF-080"]
