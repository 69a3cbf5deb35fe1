"""The cause `rule`: the target follows another rule than SPEC.md on one point of appendix A.

The rules of all entries of a backend together predict its answers: codes, scales, zero-points and
groups. One rule is a cause of an answer if all rules predict it, and all but this one do not. So an
answer that is wrong in any other way is explained by no rule.

Codes of GPTQ are judged by the certificate under these rules, given the answer's own earlier codes.
"""

from __future__ import annotations

from dataclasses import replace

from quantcheck.deviations.causes.affine import affine_parameters, affine_quantize
from quantcheck.deviations.causes.calibrated import CALIBRATED, as_ruled
from quantcheck.deviations.causes.cause import Asked, Cause, UnlikeError
from quantcheck.deviations.causes.certified import certified, gptq, is_asymmetric, rows_as_given
from quantcheck.deviations.causes.hessian import hessian
from quantcheck.deviations.causes.models import calibrated
from quantcheck.deviations.causes.rules import OTHERS, RULES, Rules
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.errors import QuantrefError
from quantref.fast.gptq import gptq_quantize


def rule(asked: Asked, rule: str) -> bool:
    """Predict the answer of all known rules, which differs from that without this rule."""
    names = dict.fromkeys([*asked.rules, rule])
    if not predicted(asked, Rules.named(names)):
        return False
    return not predicted(asked, Rules.named(name for name in names if name != rule))


def predicted(asked: Asked, rules: Rules) -> bool:
    """Tell whether an answer is the one that some rules give, in every output."""
    if rules not in asked.predicted:
        try:
            asked.predicted[rules] = PREDICTED[asked.case.operation](asked, rules)
        except (UnlikeError, QuantrefError):
            asked.predicted[rules] = False
    return asked.predicted[rules]


PREDICTED = {
    "affine_parameters": affine_parameters,
    "affine_quantize": affine_quantize,
    "gptq_quantize": gptq,
    "hessian": hessian,
    "quantize_model_gptq": calibrated,
    **dict.fromkeys(CALIBRATED, as_ruled),
}


def _concerns(case: Case, rule: str) -> bool:
    """Tell whether this rule alone, in place of that of SPEC.md, gives an answer that is wrong."""
    if "refused" in case.expected or case.operation in ("quantize_model_gptq", *CALIBRATED):
        return False  # of models nothing is said
    if case.operation != "gptq_quantize":
        return _moves_parameters(case, rule)
    weights, H, given = case.inputs["weights"], case.inputs["hessian"], case.parameters
    right, profile = Rules.named([]), Rules.named([rule]).profile
    if rule == "hessian_as_given":  # it is about inverses
        if not is_asymmetric(H):
            return False
        right = Rules.named(["rows_of_inverse"])
        profile = replace(right.profile, rows=rows_as_given(H, given, right.profile))
    elif rule in OTHERS:
        return rule == "live_groups" and given["group_size"] > 0
    made = gptq_quantize(
        weights, H, gptq_config(given), profile=profile, block_size=given["block_size"]
    )
    arrays = {n: getattr(made, n) for n in ("codes", "scale", "zero_point", "g_idx")}
    return not certified(Asked(case, {"outputs": arrays}), right, weights, H, arrays, given)


def _moves_parameters(case: Case, rule: str) -> bool:
    """Tell whether the right answer of section AFF is not that of one rule."""
    right = Asked(case, {"outputs": case.expected["outputs"]}, 2.0**-24)
    return not predicted(right, Rules.named([rule]))


CAUSES = (
    Cause(
        rule,
        tuple(PREDICTED),
        _concerns,
        proposals=tuple({"rule": name} for name in RULES),
        choices={"rule": RULES},
    ),
)
