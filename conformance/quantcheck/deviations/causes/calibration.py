"""Causes of section CAL: the choice of windows, tokens that are not checked, and no calibration."""

from __future__ import annotations

import math

import numpy as np

from quantcheck.deviations.causes.calibrated import (
    CALIBRATED,
    contracted_otherwise,
    kernel_shape,
    matrix,
    matrix_by_sizes,
    of_another_matrix,
    plain,
)
from quantcheck.deviations.causes.cause import Asked, Cause, UnlikeError, refused, same
from quantcheck.deviations.causes.certified import model
from quantcheck.deviations.causes.rules import Rules
from quantcheck.judge.calibrated import settings_of_case
from quantcheck.wire.calibrated import equation_of
from quantcheck.wire.cases import Case
from quantcheck.wire.policies import COPIED, use_of
from quantref.inputs import Array


def _tokens(case: Case) -> Array:
    """Return all tokens of the dataset, as a cast to int32 gives them."""
    if case.operation in CALIBRATED:
        return np.asarray(case.judging["dataset_tokens"])
    texts = case.parameters.get("texts")
    if texts is not None:
        return np.array([ord(character) for text in texts for character in text], np.int32)
    pieces = [np.asarray(piece).reshape(-1) for piece in case.inputs["dataset"]]
    if not pieces:
        raise UnlikeError("windows of no tokens")
    return np.concatenate([piece.astype(np.int32) for piece in pieces])


def _strided(windows: Array, tokens: Array, case: Case) -> bool:
    """Tell whether windows start every (T − L + 1) // n tokens from some offset, and wrap around.

    A dataset that is too short is repeated until it is long enough. The offset comes from a hash
    of text, which differs between processes of Python.
    """
    given = settings_of_case(case) if case.operation in CALIBRATED else case.parameters
    count, length = given["num_samples"], given["sequence_length"]
    if len(tokens) < count * length:
        tokens = np.tile(tokens, math.ceil(count * length / max(1, len(tokens))))
    last = len(tokens) - length
    if last < 0 or windows.shape != (count, length):
        return False
    stride = max(1, (last + 1) // count)
    runs = np.lib.stride_tricks.sliding_window_view(tokens, length)
    offsets = np.flatnonzero((runs == windows[0]).all(axis=1))
    steps = np.arange(count) * stride
    return any((runs[(offset + steps) % (last + 1)] == windows).all() for offset in offsets)


def windows_strided_from_hash(asked: Asked) -> bool:
    """Predict windows at a constant stride from an offset that a hash of text gives.

    The windows wrap around the end of the dataset, and overlap where tokens are few. A dataset
    that is too short is repeated, and tokens are cast to int32 whatever they are. Two processes
    have different offsets.
    """
    tokens = _tokens(asked.case)
    names = ("first", "second") if asked.case.operation == "calibration_processes" else ("windows",)
    drawn = [asked.array(name) for name in names]
    right = all(w.dtype == np.int32 and _strided(w, tokens, asked.case) for w in drawn)
    if len(drawn) == 2:
        return right and not (drawn[0] == drawn[1]).all()
    expected = asked.case.expected.get("outputs", {}).get("windows")
    return right and (expected is None or not same(drawn[0], expected))


def _draws(case: Case) -> bool:
    if case.operation == "calibration_processes":
        return True
    if "refused" in case.expected:
        return refused(case, "TokenCountError", "TokenRangeError", "DTypeError")
    windows = case.expected.get("outputs", {}).get("windows")
    return windows is not None and not _strided(windows, _tokens(case), case)


def tokenizer_without_method(asked: Asked) -> bool:
    """Predict AttributeError for a tokenizer that is a plain callable: only a method is called."""
    return _callable(asked.case) and asked.raised("AttributeError", "no attribute 'tokenize'")


def _callable(case: Case) -> bool:
    given = case.parameters.get("calibrated_with")
    if given is not None:
        return given["tokenizer"] == "callable" and "strings" in given["dataset"]
    windows = case.operation == "calibration_windows"
    texts = windows and case.parameters["texts"] is not None
    return bool(texts and case.parameters["tokenizer"] == "callable")


def nothing_calibrated(asked: Asked) -> bool:
    """Predict layers of a model for Hessians of zeros: nothing is calibrated.

    Codes are then plain rounding, in the order of the columns, with the known rules of the target
    for parameters. The windows are those of `windows_strided_from_hash`.
    """
    if asked.case.operation in CALIBRATED:
        return _not_calibrated(asked, matrix(asked.case))
    if refused(asked.case, "TokenCountError") is False and "refused" in asked.case.expected:
        return False
    windows = asked.array("windows")
    right = _strided(windows, _tokens(asked.case), asked.case)
    return right and model(asked, Rules.named(asked.rules))


def _not_calibrated(asked: Asked, weights: Array) -> bool:
    if "refused" in asked.case.expected:
        return False
    strided = _strided(asked.array("windows"), _tokens(asked.case), asked.case)
    return strided and plain(asked, weights)


def matrix_of_largest_axis(asked: Asked) -> bool:
    """Predict codes of a matrix whose columns are those of the kernel's largest axis.

    They are those of plain rounding: nothing is calibrated. From 3.16 on calibration has other
    columns than the layer's inputs, and is refused, or takes the inputs in rows of that length.
    """
    if not _of_another_matrix(asked.case):
        return False
    other = matrix_by_sizes(asked.case)
    n_in = other.shape[1]
    messages = (
        rf"Calibration statistics \({n_in}\) do not match input features",
        rf"cannot reshape array of size \d+ into shape \({n_in}\)",
        rf"shape '\[-1, {n_in}\]' is invalid for input of size",
    )
    refuses = any(asked.raised(kind, m) for kind in KINDS for m in messages)
    return refuses or _not_calibrated(asked, other) or of_another_matrix(asked, other)


KINDS = ("ValueError", "RuntimeError")  # of NumPy, and of PyTorch


def _of_another_matrix(case: Case) -> bool:
    if "refused" in case.expected:
        return False
    equation = equation_of(case.parameters, case.inputs["x"])
    return contracted_otherwise(equation, kernel_shape(case))


def structure_not_saved(asked: Asked) -> bool:
    """Predict a recursion without end where a layer is described: its config holds its own block.

    It ends in RecursionError, or in the ValueError that `inspect` makes of one.
    """
    deep = asked.raised("RecursionError", "maximum recursion depth exceeded")
    deep |= asked.raised("ValueError", "^unsupported callable$")
    return _saved_with_structure(asked.case) and deep


def _saved_with_structure(case: Case) -> bool:
    given = case.parameters.get("calibrated_with", {}).get("structure") == "given"
    return given and (bool(case.parameters["reload"]) or use_of(case.parameters) in COPIED)


def _calibrates(case: Case) -> bool:
    if case.operation in CALIBRATED:
        return "refused" not in case.expected and not _of_another_matrix(case)
    return "refused" not in case.expected or refused(case, "TokenCountError")


PACKED_LAYERS = ("dense_gptq", "einsum_dense_gptq")
WINDOWS = ("calibration_windows", "calibration_processes")
CAUSES: tuple[Cause, ...] = (
    Cause(windows_strided_from_hash, WINDOWS, _draws),
    Cause(
        tokenizer_without_method, ("calibration_windows", *PACKED_LAYERS, *CALIBRATED), _callable
    ),
    Cause(structure_not_saved, PACKED_LAYERS, _saved_with_structure),
    Cause(nothing_calibrated, ("quantize_model_gptq", *CALIBRATED), _calibrates),
    Cause(matrix_of_largest_axis, ("einsum_dense_calibrated",), _of_another_matrix),
)
