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

from quantcheck.wire.protocol import PROTOCOL

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
        Returns the wire answer to a wire question; an exception becomes an `error` answer.
    ready : mapping
        The handshake without `protocol`.
    out : text stream
        Output for answers, from `claim_stdout`.
    """
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "stop" in message:
            return
        if "start" in message:
            _send(out, _line({"ready": {"protocol": PROTOCOL, **ready}}))
            gc.collect()
            gc.freeze()
            continue
        _send(out, _answer(answer, message))
        gc.collect()
        gc.freeze()


def _answer(answer: Answer, question: dict[str, Any]) -> str:
    identity = question.get("id")
    try:
        return _line({**answer(question), "id": identity})
    except Exception as error:  # noqa: BLE001 - the answer contains it, with its trace
        message = f"{type(error).__name__}: {error}"
        return _line({"id": identity, "error": message, "trace": traceback.format_exc()})


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
