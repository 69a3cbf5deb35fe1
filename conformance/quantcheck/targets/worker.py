"""The server loop of every target written in Python: questions on stdin, answers on stdout."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import IO, Any

from quantcheck.wire import lines
from quantcheck.wire.protocol import PROTOCOL, short

Answer = Callable[[dict[str, Any]], Mapping[str, Any]]
OPERATIONS = (
    "round_half_even",
    "saturating_cast",
    "abs_max_quantize",
    "abs_max_quantizer",
    "abs_max_dequantize",
    "affine_parameters",
    "affine_quantize",
    "affine_dequantize",
    "pack",
    "unpack",
    "pack_ternary",
    "unpack_ternary",
    "pack_layer",
    "unpack_layer",
    "hessian",
    "prepare_hessian",
    "factor",
    "gptq_quantize",
    "config_round_trip",
    "dense_int8",
    "einsum_dense_int8",
    "dense_gptq",
    "einsum_dense_gptq",
    "embedding_int8",
    "reversible_embedding_int8",
    "calibration_windows",
    "calibration_processes",
    "quantize_model_int8",
    "quantize_model_gptq",
    "dense_calibrated",
    "einsum_dense_calibrated",
    "grouped_quantize",
    "grouped_dequantize",
)


def claim_stdout() -> IO[str]:
    """Keep the real stdout for answers, and redirect the output of libraries to stderr.

    Returns
    -------
    text stream
        The real standard output, UTF-8.
    """
    real = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return real


def serve(answer: Answer, ready: Mapping[str, Any], out: IO[str]) -> None:
    """Answer questions until `stop` or the end of stdin.

    Objects that live between two questions (modules, compiled code) are frozen for the garbage
    collector. Keras collects garbage after every layer that it quantizes, and each collection would
    otherwise visit all of them.

    Parameters
    ----------
    answer : callable
        Returns the wire answer to a wire question; an exception becomes an `error` answer. It gets
        questions alone, without parameters and inputs that their operation does not have.
    ready : mapping
        The handshake without `protocol`.
    out : text stream
        Output for answers, from `claim_stdout`.
    """
    for line in sys.stdin.buffer:
        reply = _reply(answer, ready, line)
        if reply is None:
            return
        _send(out, _line(reply))
        gc.collect()
        gc.freeze()


def _reply(answer: Answer, ready: Mapping[str, Any], line: bytes) -> dict[str, Any] | None:
    """Return what a line is answered with; None at `stop`.  [VER-060]"""
    try:
        message = lines.parse(line)
    except ValueError as error:
        return {"id": None, "error": f"expected one line of JSON, got {error}"}
    missing = lines.why_no_question(message)
    if missing is None:
        return _answer(answer, message)
    named = message if isinstance(message, dict) else {}
    if isinstance(named.get("start"), dict):
        return {"ready": {"protocol": PROTOCOL, **ready}}
    if isinstance(named.get("stop"), dict):
        return None
    identity = named.get("id")
    return {
        "id": identity if isinstance(identity, str) else None,
        "error": f"expected a question, with {missing}, got {short(message)}",
    }


def _answer(answer: Answer, question: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a question, with its id."""
    identity, unknown = question["id"], lines.unknown_name(question)
    if unknown is not None:
        return {"id": identity, "unsupported": f"{question['operation']} has no {unknown}"}
    try:
        given = {**answer(question), "id": identity}
        _line(given)
    except Exception as error:  # noqa: BLE001 - the answer contains it, with its trace
        message = f"{type(error).__name__}: {error}"
        return {"id": identity, "error": message, "trace": traceback.format_exc()}
    return given


def _line(message: Mapping[str, Any]) -> str:
    return json.dumps(message, allow_nan=False, ensure_ascii=False) + "\n"


def _send(out: IO[str], line: str) -> None:
    out.write(line)
    out.flush()


def versions_of(*distributions: str) -> dict[str, str]:
    """Return the versions of the distributions that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
