"""Correct implementations on large problems, with their compensated and base weights recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from quantcheck.run.selftest.large.problems import Large
from quantcheck.targets.variants import factors, gptq
from quantcheck.targets.variants.arithmetic import Arithmetic
from quantref.certificate import LEAST_BOUND, RELATIVE32, U32, U64
from quantref.fast.certificate import LazyCertificate, certify_problem
from quantref.fast.certificate.evidence import Evidence
from quantref.inputs import Array


@dataclass(frozen=True)
class Implementation:
    """A correct implementation: form of feedback, factor, and what it declares."""

    id: str
    arithmetic: Arithmetic
    form: Callable[[gptq.Job], None]
    inverse_factor: gptq.InverseFactor
    factor_roundoff: float

    @property
    def unit_roundoff(self) -> float:
        """U."""
        return U64 if self.arithmetic.dtype == "float64" else U32


@dataclass
class Observed:
    """What one implementation showed on one problem.

    Attributes
    ----------
    verdict : str
    undecided : float
    failures : list of str
    ratios : dict
        "REQUIREMENT place": largest observed ÷ bound, place "first" or "later".
    """

    verdict: str
    undecided: float
    failures: list[str]
    ratios: dict[str, float] = field(default_factory=dict)


class RecordingJob(gptq.Job):
    """A job that keeps compensated weights, and base weights of every group."""

    def begin(self, j: int, base: Array) -> None:
        """Keep the base weights of a group."""
        if j == 0:
            self.compensated = np.empty(self.W.shape)
            self.ends: list[tuple[Array, Array]] = []
        if j in self.starts:
            part = base[:, self.starts[j].start : self.starts[j].end]
            self.ends.append((part.min(axis=1), part.max(axis=1)))
        super().begin(j, base)

    def column(self, j: int, w: Array) -> Array:
        """Keep a column's compensated weights."""
        self.compensated[:, j] = w
        return super().column(j, w)


def implementations() -> Iterator[Implementation]:
    """Yield the implementations."""
    single, double = Arithmetic(), Arithmetic("float64")
    yield Implementation("float64, column by column", double, gptq.textbook, gptq.by_reversal, U64)
    yield Implementation("float64, inverse first", double, gptq.lazy, gptq.by_inverse, U64)
    forms = {"column by column": gptq.textbook, "lazy blocks": gptq.lazy,
             "one product a column": gptq.gathered, "LDLᵀ": gptq.ldl_feedback}  # fmt: skip
    for name, form in forms.items():
        yield Implementation(f"float32 feedback, float64 factor, {name}", single, form,
                             gptq.by_reversal, U64)  # fmt: skip
    ways: dict[str, gptq.InverseFactor] = {
        "reversed Cholesky": gptq.by_reversal,
        "inverse, its Cholesky factor (SciPy)": gptq.by_inverse,
        "NumPy's BLAS": gptq.by_numpy,
        "explicit inverse": factors.by_explicit_inverse,
        "sums one by one": factors.by_sequential_sums,
    }
    ways |= factors.by_libraries()
    for name, factor in ways.items():
        yield Implementation(f"float32, {name}", single, gptq.lazy, factor, U32)
    fused = Arithmetic(fused=True, reciprocal=True)
    yield Implementation("float32, fused multiply-add", fused, gptq.textbook, gptq.by_reversal, U32)
    yield Implementation("float32, reversed accumulation", single, backwards, gptq.by_reversal, U32)


def observe(large: Large, one: Implementation) -> Observed | None:
    """Run one implementation on all rows; None if its factor does not exist in its precision."""
    settings = {"damping": large.damping, "activation_order": False, "block_size": large.block_size,
                "bits": large.bits, "group_size": large.group_size, "symmetric": False,
                "per_channel": True}  # fmt: skip
    inputs: dict[str, Array] = {"weights": large.weights, "hessian": large.hessian}
    refused = False

    def factor(hessian: Array) -> Array:
        nonlocal refused
        if one.factor_roundoff == U64:
            return one.inverse_factor(large.damped).astype(hessian.dtype)
        if refused:  # Job asks again in double precision
            return one.inverse_factor(hessian)
        refused = True
        U = one.inverse_factor(hessian)
        refused = not np.isfinite(U).all()
        return U

    job = RecordingJob(one.arithmetic, factor, inputs, settings)
    if refused:
        return None
    if one.factor_roundoff == U64:
        job.H = large.damped  # of which the form without an inverse computes its own factor
    one.form(job)
    answer = SimpleNamespace(**job.answer())
    certificate = certify_problem(
        large.problem,
        answer,
        unit_roundoff=one.unit_roundoff,
        factor_roundoff=one.factor_roundoff,
        factor=large.factor,
    )
    failures = [f"{c.name}: {c.message}" for c in certificate.failures]
    found = Observed(certificate.verdict, certificate.undecided, failures)
    found.ratios = _ratios(certificate, job)
    return found


def _ratios(certificate: LazyCertificate, job: RecordingJob) -> dict[str, float]:
    """Return the largest observed ÷ bound by requirement and place."""
    evidence, made = certificate.evidence, {}
    values = evidence.values(slice(0, len(evidence.codes)), slice(0, evidence.codes.shape[1])).T
    off = np.abs(job.compensated - (values + evidence.residuals)) / evidence.beta
    clipped, first = evidence.clipped, np.arange(off.shape[1]) < job.block
    for name, chosen in (("CERT-010", ~clipped), ("CERT-020", clipped)):
        for place, columns in (("first", first), ("later", ~first)):
            if columns.any():
                made[f"{name} {place}"] = float(np.where(chosen, off, 0)[:, columns].max())
    groups = evidence.compensated_groups
    for name, ratio in (("scale", _scales(evidence)), ("zero-point", _zeros(evidence, job))):
        for place, chosen in (("first", ~groups), ("later", groups)):
            if chosen.any():
                made[f"CERT-030 {name} {place}"] = float(ratio[:, chosen].max())
    for check in certificate.checks:
        if check.requirement in ("CERT-050", "CERT-110"):
            made[check.requirement] = check.observed
    return made


def _scales(evidence: Evidence) -> Array:
    """Return observed ÷ bound of scales, (n_out, n_groups)."""
    lo, hi = evidence.ranges
    exact = (np.maximum(hi, 0) - np.minimum(lo, 0)) / evidence.problem.maxq
    bound = 2 * evidence.delta / evidence.problem.maxq + RELATIVE32 * exact
    return np.asarray(np.abs(evidence.scale - exact) / bound)


def _zeros(evidence: Evidence, job: RecordingJob) -> Array:
    """Return observed ÷ bound of what zero-points are rounded from, (n_out, n_groups)."""
    scale = evidence.scale
    exact = np.clip(-np.minimum(evidence.ranges[0], 0) / scale, 0, evidence.problem.maxq)
    low = np.stack([np.minimum(ends[0], 0) for ends in job.ends], axis=1)
    computed = np.clip((-low / scale.astype(low.dtype)).astype(np.float64), 0, job.most)
    u = evidence.roundoffs.feedback
    bound = evidence.delta / scale + exact * (3 * u + RELATIVE32) + LEAST_BOUND
    return np.asarray(np.abs(computed - exact) / bound)


def backwards(job: gptq.Job) -> None:
    """Subtract the errors of a block from each later weight one by one, the last one first."""
    W, U, n_in = job.W.copy(), job.U, job.W.shape[1]
    for a in range(0, n_in, job.block):
        b = min(a + job.block, n_in)
        base, E = W.copy(), np.zeros_like(W[:, a:b])
        for j in range(a, b):
            job.begin(j, base)
            w = W[:, j].copy()
            for k in reversed(range(a, j)):
                w -= E[:, k - a] * U[k, j]
            E[:, j - a] = job.arithmetic.ratio(job.column(j, w), U[j, j])
        for k in reversed(range(a, b)):
            W[:, b:] -= np.outer(E[:, k - a], U[k, b:])
