"""Causes of section GPTQ that are no rule of appendix A."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from quantcheck.deviations.causes.affine import affine_parameters
from quantcheck.deviations.causes.calibrated import CALIBRATED, kernel_shape, matrix
from quantcheck.deviations.causes.cause import Asked, Cause, refused
from quantcheck.deviations.causes.certified import certified
from quantcheck.deviations.causes.rules import Rules
from quantcheck.deviations.causes.walk import Walk
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.affine import group_layout
from quantref.fast.gptq import gptq_quantize
from quantref.inputs import Array
from quantref.rules import Group, groups_per_block

SHAPES = r"variable\.shape=(.*?), Received: value\.shape=(.*?)\. Target"
NAMES = ("codes", "scale", "zero_point", "g_idx")


def shapes_of_refusal(asked: Asked) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the shapes of a variable and of a value that was not assigned to it, or None."""
    if not asked.raised("ValueError", "target variable and the shape of the target value"):
        return None
    found = re.search(SHAPES, str(asked.answer["refused"]))
    if found is None:
        return None
    variable, value = (tuple(int(n) for n in re.findall(r"\d+", part)) for part in found.groups())
    return variable, value


# GROUPS
def groups_of(case: Case) -> tuple[list[Group], list[Group]]:
    """Return the groups, and their parts if each column block starts new groups."""
    given, n_in = case.parameters, case.inputs["weights"].shape[1]
    size = n_in if given["group_size"] == -1 else min(given["group_size"], n_in)
    return group_layout(n_in, size), groups_per_block(n_in, size, given["block_size"])


def groups_of_blocks_refused(asked: Asked) -> bool:
    """Predict that scales are refused: there is one for each part of a group in a column block.

    The layer has room for one scale of each group.
    """
    rows = asked.case.inputs["weights"].shape[0]
    right, parts = groups_of(asked.case)
    if len(parts) == len(right):
        return False
    return shapes_of_refusal(asked) == ((rows, len(right)), (rows, len(parts)))


def _groups_go_on(case: Case) -> bool:
    right, parts = groups_of(case)
    return "refused" not in case.expected and len(parts) != len(right)


def short_group_refused(asked: Asked) -> bool:
    """Predict that a last group with fewer columns than the others is refused.

    Up to 3.13, a group's weights are reshaped to rows of the group size. Where that fits by
    chance, the parameters are those of other rows, and do not fit what comes next.
    """
    return _ends_short(asked.case) and asked.raised(
        "ValueError",
        "cannot reshape|broadcast together|array dimensions except|target variable and the shape",
    )


def _ends_short(case: Case) -> bool:
    if "refused" in case.expected:
        return False
    if "kernel_shape" in case.parameters or case.operation in CALIBRATED:
        return _calibrated_with_short_group(case)
    size = case.parameters["group_size"]
    return bool(size > 0 and case.inputs["weights"].shape[1] % size > 0)


def _calibrated_with_short_group(case: Case) -> bool:
    """Tell whether calibration of a layer meets such a group.

    Keras may take another number of the kernel's axes for those of the inputs.
    """
    size = case.parameters["config"]["arguments"].get("group_size", 128)
    shape = kernel_shape(case)
    columns = {math.prod(shape[:count]) for count in range(1, len(shape))}
    read = case.operation in CALIBRATED
    own = matrix(case).shape[1] if read else len(case.inputs["g_idx"])
    short = size > 0 and any(n % size > 0 for n in {*columns, own})
    return "calibrated_with" in case.parameters and short


# BAD INPUT
def unchecked_gptq(asked: Asked, kind: str) -> bool:
    """Predict an answer to bad input by the known rules of the target, unchecked.

    Integers count as floats. The Hessian is used as it is; where it has no factor, only dtypes
    and shapes are predicted, and parameters of the first column block. Where a row of weights holds
    NaN or infinity, nothing is predicted of it. `kind`: the error with which the input has to be
    refused.
    """
    if not refused(asked.case, kind):
        return False
    weights, hessian = asked.case.inputs["weights"], asked.case.inputs["hessian"]
    rules, shape = Rules.named(asked.rules), weights.shape
    groups = len(groups_of(asked.case)[0])
    shapes = dict(
        zip(NAMES, (shape, (shape[0], groups), (shape[0], groups), shape[1:]), strict=True)
    )
    arrays = {name: asked.array(name, size) for name, size in shapes.items()}
    if kind in ("NotSymmetricError", "NotPositiveDefiniteError"):
        return _first_parameters(asked, rules, weights, arrays)
    clean = np.isfinite(weights.astype(np.float64)).all(axis=1)
    if not np.isfinite(hessian).all():
        return _first_parameters(asked, rules, weights, arrays)
    if not asked.case.parameters["per_channel"] and not clean.all():
        return True
    if not clean.any():
        return True
    kept = {name: a if name == "g_idx" else a[clean] for name, a in arrays.items()}
    if weights.dtype.kind in "iu":
        return _integers(asked, rules, weights.astype(np.float32), kept)
    return certified(asked, rules, weights[clean], hessian, kept, asked.case.parameters)


def _integers(asked: Asked, rules: Rules, weights: Array, arrays: dict[str, Array]) -> bool:
    """Tell whether an answer is that of the integers as floats.

    A target that stores weights in their own dtype cuts scales, and weights after each error, to
    integers.
    """
    given, hessian = asked.case.parameters, asked.case.inputs["hessian"]
    if arrays["scale"].dtype.kind != "i" or given["group_size"] != -1:
        return certified(asked, rules, weights, hessian, arrays, given)
    made = gptq_quantize(
        weights, hessian, gptq_config(given),
        profile=rules.profile, block_size=given["block_size"],
    )  # fmt: skip
    same_parameters = (arrays["scale"] == np.trunc(made.scale)).all()
    same_parameters &= (arrays["zero_point"] == made.zero_point).all()
    right = bool(same_parameters) and bool((arrays["g_idx"] == made.g_idx).all())
    s, z = made.scale.astype(np.float64), made.zero_point.astype(np.float64)
    walk = Walk(asked, rules.profile, np.trunc, lambda _, column, s, __: 1e-5 * np.abs(column / s))
    codes = arrays["codes"][:, made.order]
    return right and walk.follows(codes, np.zeros(codes.shape[1], int), s, z)


def _first_parameters(asked: Asked, rules: Rules, weights: Array, arrays: Any) -> bool:
    """Tell whether the parameters of one group of the first column block are right."""
    given = asked.case.parameters
    if given["group_size"] != -1 or given["activation_order"]:
        return True
    case = Case(
        asked.case.id, "aff", "", "affine_parameters", asked.case.requirements, given,
        {"weights": weights}, {},
    )  # fmt: skip
    outputs = {name: arrays[name] for name in ("scale", "zero_point")}
    return affine_parameters(Asked(case, {"outputs": outputs}, asked.unit_roundoff), rules)


def _refuses(case: Case, kind: str) -> bool:
    """Tell whether the input is bad; elimination itself refuses a Hessian with a pivot of zero."""
    if not refused(case, kind):
        return False
    if kind != "NotPositiveDefiniteError":
        return True
    damping = case.parameters["damping"]
    H = case.inputs["hessian"] + damping * np.eye(len(case.inputs["hessian"]))
    try:
        np.linalg.inv(H.astype(np.float32))
    except np.linalg.LinAlgError:
        return False
    return True


GPTQ = ("gptq_quantize",)
BAD = ("DTypeError", "NonFiniteError", "NotSymmetricError", "NotPositiveDefiniteError")
CAUSES = (
    Cause(groups_of_blocks_refused, GPTQ, _groups_go_on),
    Cause(
        short_group_refused,
        (*GPTQ, "affine_parameters", "dense_gptq", "einsum_dense_gptq", *CALIBRATED),
        _ends_short,
    ),
    Cause(unchecked_gptq, GPTQ, _refuses, tuple({"kind": kind} for kind in BAD)),
)
