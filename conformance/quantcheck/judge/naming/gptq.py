"""Finds the requirement that a wrong answer of GPTQ breaks (SPEC.md, sections 8 and 12).

If the certificate rejects an answer, the answer is certified again for changed problems: those of
module `mistakes`. If the certificate accepts it, this change is the mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from quantcheck.judge.certifying import Certifying
from quantcheck.judge.naming.mistakes import PLAIN_ROUNDING, Question, mistakes
from quantcheck.oracle.bounds import ULP32
from quantcheck.spec.requirements import choices
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.affine import group_layout, group_parameters
from quantref.checks import Certificate
from quantref.errors import QuantrefError
from quantref.fast.certificate import certify
from quantref.inputs import Array
from quantref.rules import Group

HALF_PRECISION = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # unit roundoffs
MOST_COLUMNS = 1024  # of a case whose mistake is looked for: a certificate takes seconds beyond
CODE_CHECKS = ("CERT-010", "CERT-020", "CERT-050")


def explain(case: Case, outputs: dict[str, Array], unit_roundoff: float) -> tuple[list[str], str]:
    """Return the requirement whose violation explains a wrong answer of GPTQ, and its name.

    The requirement is left out where the checks that failed say it best.

    `unit_roundoff`: that of the target, so that low precision is not taken for another mistake.
    """
    parameters = case.parameters
    asked = Question(
        case.inputs["weights"],
        case.inputs["hessian"],
        outputs["codes"],
        outputs["g_idx"],
        gptq_config(parameters),
        parameters["block_size"],
        unit_roundoff,
    )
    if asked.weights.shape[1] > MOST_COLUMNS:
        certificate = _certificate(asked, outputs)
        return [], PLAIN_ROUNDING if certificate and certificate.plain_rounding else ""
    if _range_of_given_weights(asked, outputs):
        return ["GPTQ-140"], "the range of a single group has the weights of dead columns"
    blamed, name = _mistake(case, asked, outputs)
    if name:
        return blamed, name
    if "GPTQ-100" in case.requirements and _half_precision(asked, outputs):
        return ["GPTQ-100"], f"weights carried in {asked.weights.dtype.name}"
    if outputs["g_idx"].dtype.kind == "f":
        return [], "group indices are floats"
    return [], ""


def _mistake(case: Case, asked: Question, outputs: dict[str, Array]) -> tuple[list[str], str]:
    """Return requirement and name of the mistake whose right answer this is; else no name."""
    certifying = Certifying()
    if _accepted(certifying, asked, outputs):
        return [], ""
    uncovered = ""  # the name of a mistake that breaks what the case does not ask
    for mistake in mistakes():
        blamed = [mistake.requirement] if mistake.requirement else []
        asks = not set(blamed) - {*case.requirements, *choices()}
        if not asks and uncovered:
            continue
        questions = mistake.questions(asked)
        if any(_accepted(certifying, q, outputs, strong=mistake.strong) for q in questions):
            if asks:
                return blamed, mistake.name
            uncovered = mistake.name
    return [], uncovered


def _range_of_given_weights(asked: Question, outputs: dict[str, Array]) -> bool:
    """Tell whether only the parameters fail, and are those of the given weights.  [GPTQ-140]

    There is one group, and dead columns widen its range.
    """
    dead = np.diagonal(asked.hessian) == 0
    if outputs["scale"].shape[1] != 1 or not dead.any():
        return False
    certificate = _certificate(asked, outputs)
    if certificate is None or {c.requirement for c in certificate.failures} != {"CERT-030"}:
        return False
    config = asked.config
    scale, zero_point = group_parameters(
        asked.weights.astype(np.float64), bits=config.weight_bits, symmetric=config.symmetric,
        per_channel=config.per_channel,
    )  # fmt: skip
    far = np.abs(outputs["scale"][:, 0].astype(np.float64) - scale) > 2 * ULP32 * scale
    return not far.any() and bool((outputs["zero_point"][:, 0] == zero_point).all())


def _half_precision(asked: Question, outputs: dict[str, Array]) -> bool:
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


def _accepted(
    certifying: Certifying, asked: Question, outputs: dict[str, Array], *, strong: bool = False
) -> bool:
    """Tell whether the certificate accepts the answer for a changed question.

    `strong`: a weak certificate does not count, as it explains too much.
    """
    integral = outputs["g_idx"].dtype.kind in "iu"  # a float index is judged elsewhere
    try:
        failing = certifying.failing(
            asked.weights,
            asked.hessian,
            _answer(asked, outputs),
            asked.config,
            profile=asked.profile,
            block_size=asked.block_size,
            unit_roundoff=asked.unit_roundoff,
        )
        if any(integral or check.requirement != "GPTQ-090" for check in failing):
            return False
    except QuantrefError:
        return False
    certificate = _certificate(asked, outputs) if strong else None
    return certificate is None or not certificate.is_weak


def _answer(asked: Question, outputs: dict[str, Array]) -> Any:
    return SimpleNamespace(
        codes=asked.codes,
        g_idx=asked.g_idx,
        scale=outputs["scale"],
        zero_point=outputs["zero_point"],
    )


def _certificate(asked: Question, outputs: dict[str, Array]) -> Certificate | None:
    """Return the certificate of the answer for a changed question, None if it is refused."""
    try:
        return certify(
            asked.weights,
            asked.hessian,
            _answer(asked, outputs),
            asked.config,
            profile=asked.profile,
            block_size=asked.block_size,
            unit_roundoff=asked.unit_roundoff,
        )
    except QuantrefError:
        return None


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
        if check.requirement == "CERT-110":
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
