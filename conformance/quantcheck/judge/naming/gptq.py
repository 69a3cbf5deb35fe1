"""Finds the requirement that a wrong answer of GPTQ breaks (SPEC.md, sections 8 and 12).

If the certificate rejects an answer, the answer is certified again for a changed problem: another
order, dead columns kept, half precision. If the certificate accepts it, this change is the mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.affine import group_layout
from quantref.checks import Certificate
from quantref.config import GPTQConfig
from quantref.errors import QuantrefError
from quantref.fast.certificate import certify
from quantref.hessian import prepare_hessian
from quantref.inputs import Array, require_hessian
from quantref.rules import DEFAULT_PROFILE, Group, Profile, dead_kept, order_damped_float32

HALF_PRECISION = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # unit roundoffs
CODE_CHECKS = ("CERT-010", "CERT-020", "CERT-050")


@dataclass(frozen=True)
class _Question:
    """The arguments of `certify`."""

    weights: Array
    hessian: Array
    codes: Array
    g_idx: Array
    config: GPTQConfig
    block_size: int
    unit_roundoff: float
    profile: Profile = DEFAULT_PROFILE


def explain(case: Case, outputs: dict[str, Array], unit_roundoff: float) -> list[str]:
    """Return the requirement whose violation explains a wrong answer of GPTQ, or nothing.

    `unit_roundoff`: that of the target, so that low precision is not taken for another mistake.
    """
    mistakes = {"GPTQ-010": _dead_columns, "GPTQ-020": _orders, "GPTQ-080": _processing_order}
    parameters = case.parameters
    asked = _Question(
        case.inputs["weights"],
        case.inputs["hessian"],
        outputs["codes"],
        outputs["g_idx"],
        gptq_config(parameters),
        parameters["block_size"],
        unit_roundoff,
    )
    rejected = not _accepted(asked, outputs)
    for requirement, variants in mistakes.items():
        tried = rejected and requirement in case.requirements
        if tried and any(_accepted(variant, outputs) for variant in variants(asked)):
            return [requirement]
    if "GPTQ-100" in case.requirements and _half_precision(asked, outputs):
        return ["GPTQ-100"]
    return []


def _half_precision(asked: _Question, outputs: dict[str, Array]) -> bool:
    """Tell whether weights rounded to half precision explain the codes.  [GPTQ-100]

    Such an implementation rounds a weight after each error that is added to it. After n independent
    roundings the weight has an error of about √n·u of the largest weight. A code that is wrong by
    no more than this is explained. A wrong scale or zero-point is not: half precision explains no
    range of the first column block, where no error has been added yet.
    """
    u = HALF_PRECISION.get(asked.weights.dtype.name)
    if u is None:
        return False
    n_in = asked.weights.shape[1]
    codes, most = asked.codes, 2**asked.config.weight_bits - 1
    certificate = _certificate(asked, outputs)
    if certificate is None:
        return False
    failed = {check.requirement for check in certificate.failures}
    places = (group for c in certificate.failures for _, group in c.places)
    starts = [group.first for group in group_layout(n_in, asked.config.group_size)]
    ranges = any(starts[group] < asked.block_size for group in places)
    if "GPTQ-090" in failed or not failed.intersection(CODE_CHECKS) or ranges:
        return False
    groups = np.asarray(asked.g_idx).astype(np.intp)  # whose dtype is judged elsewhere
    scale = outputs["scale"].astype(np.float64)[:, groups]
    allowed = np.sqrt(n_in) * u * np.abs(asked.weights.astype(np.float64)).max()
    excess = (np.abs(certificate.residual_steps) - 0.5) * scale
    return bool(np.where((codes > 0) & (codes < most), excess, 0.0).max() <= allowed)


def unaffected(outputs: dict[str, Array], blamed: list[str]) -> set[str]:
    """Return requirements whose failures always stay: those on dtypes and group indices."""
    moved = {"GPTQ-020", "GPTQ-080"}.intersection(blamed)
    return (
        {"GPTQ-080"} if moved and outputs["g_idx"].dtype.kind in "iu" else {"GPTQ-080", "GPTQ-090"}
    )


def _accepted(asked: _Question, outputs: dict[str, Array]) -> bool:
    """Tell whether the certificate accepts the answer for a changed question."""
    certificate = _certificate(asked, outputs)
    if certificate is None:
        return False
    integral = outputs["g_idx"].dtype.kind in "iu"  # a float index is judged elsewhere
    return all(not integral and c.requirement == "GPTQ-090" for c in certificate.failures)


def _certificate(asked: _Question, outputs: dict[str, Array]) -> Certificate | None:
    """Return the certificate of the answer for a changed question, None if it is refused."""
    answer = SimpleNamespace(
        codes=asked.codes,
        g_idx=asked.g_idx,
        scale=outputs["scale"],
        zero_point=outputs["zero_point"],
    )
    try:
        return certify(
            asked.weights,
            asked.hessian,
            answer,
            asked.config,
            profile=asked.profile,
            block_size=asked.block_size,
            unit_roundoff=asked.unit_roundoff,
        )
    except QuantrefError:
        return None


def _dead_columns(asked: _Question) -> Iterator[_Question]:
    """Yield the question with the weights of dead columns kept.  [GPTQ-010]"""
    yield replace(asked, profile=replace(asked.profile, dead=dead_kept))


def _unordered(asked: _Question) -> _Question:
    """Return the question without activation order."""
    config: dict[str, Any] = {**asked.config.get_config(), "activation_order": False}
    return replace(asked, config=GPTQConfig.from_config(config))


def _ties_descending(diagonal: Array, damped: Array) -> Array:  # noqa: ARG001
    """Sort the diagonal in descending order, ties by descending index."""
    return np.lexsort((-np.arange(len(diagonal)), -diagonal))


def _orders(asked: _Question) -> Iterator[_Question]:
    """Yield the question with other orders, and with an unordered Hessian.  [GPTQ-020]"""
    if not asked.config.activation_order:
        return
    yield _unordered(asked)
    for rule in (_ties_descending, order_damped_float32):
        yield replace(asked, profile=replace(asked.profile, order=rule))
    h = require_hessian(asked.hessian, "GPTQ-110")
    dead = np.diagonal(h) == 0
    h[dead, dead] = 1.0
    live = asked.weights.copy()
    live[:, dead] = 0
    order = prepare_hessian(h, activation_order=True).order
    ascending = np.argsort(np.diagonal(h), kind="stable")
    for weights_by, hessian_by in ((order, np.arange(len(h))), (ascending, ascending)):
        yield replace(
            _unordered(asked),
            weights=live[:, weights_by],
            hessian=h[np.ix_(hessian_by, hessian_by)],
            codes=asked.codes[:, weights_by],
            g_idx=asked.g_idx[weights_by],
        )


def _processing_order(asked: _Question) -> Iterator[_Question]:
    """Yield the question for codes that stand in processing order.  [GPTQ-080]"""
    if not asked.config.activation_order:
        return
    order = prepare_hessian(asked.hessian, activation_order=True).order
    place = np.argsort(order)
    moved = asked.codes[:, place]
    if (moved == asked.codes).all():
        return  # codes that are the same in both orders are not in the wrong one
    yield replace(asked, codes=moved)
    yield replace(asked, codes=moved, g_idx=asked.g_idx[place])


def judged_checks(case: Case, certificate: Certificate) -> Iterator[tuple[Any, str]]:
    """Yield checks of a certificate with the requirement of section GPTQ that each judges.

    SPEC.md, section 12, has the table.

    If codes fail, base weights of later column blocks carry wrong errors. Only groups that start in
    the first column block are then judged: a failure of later groups alone says nothing, and a
    check that passes says nothing either if it is about later groups too.
    """
    wrong_codes = any(not c.passed for c in certificate.checks if c.requirement in CODE_CHECKS)
    groups, block = _groups(case), case.parameters["block_size"]
    judged = {g for g in groups if g.first < block} if wrong_codes else set(groups)
    for check in certificate.checks:
        if check.requirement == "CERT-080":
            continue  # it checks the certificate's own arithmetic, not the answer
        if check.requirement == "GPTQ-090":
            yield check, "GPTQ-090"
        elif check.requirement in CODE_CHECKS:
            yield check, "GPTQ-060"
        else:
            wrong = judged.intersection(groups[k] for _, k in check.places)
            if wrong:
                yield check, _of_parameters(wrong, groups, block)
            elif len(judged) == len(groups):
                yield check, "GPTQ-030"


def _groups(case: Case) -> list[Group]:
    return group_layout(case.inputs["weights"].shape[1], case.parameters["group_size"])


def _of_parameters(wrong: set[Group], groups: list[Group], block: int) -> str:
    """Return the requirement that groups with wrong parameters break (SPEC.md, section 12)."""
    size = groups[0].stop
    if all(group.stop - group.first > block for group in wrong):
        return "GPTQ-040"
    if len(groups) > 1 and all(group.stop - group.first < size for group in wrong):
        return "GPTQ-050"
    return "GPTQ-030"
