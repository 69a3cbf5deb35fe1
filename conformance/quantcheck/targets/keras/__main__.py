"""Target `keras:BACKEND`: Keras's own quantizer code behind the protocol.

An operation is unsupported if Keras has no function for it or raises NotImplementedError.
Exceptions that `refuses` recognizes are refusals of the input. All other exceptions are errors of
the target.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from quantcheck.targets.keras import releases
from quantcheck.targets.keras.calls import OPERATIONS
from quantcheck.targets.keras.config import Unsupported
from quantcheck.targets.worker import claim_stdout, serve, versions_of

REFUSALS = (ValueError, TypeError, IndexError, OverflowError)
ABSENT = {
    "abs_max_dequantize": "Keras divides by the scale inside its layers, it has no function for it",
    "prepare_hessian": "Keras damps and orders inside quantize_and_correct_layer",
    "factor": "Keras inverts the Hessian, it does not factor it",
}

COMPILING = ("jax", "openvino")
"""Backends that compile each operation for each shape."""

# By backend.
OUT_OF_REACH = {
    "openvino": {
        "gptq_quantize": "Keras on OpenVINO makes one graph of all columns, and evaluates it for "
        "every array that is asked for: 160 columns take minutes and gigabytes",
    },
}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer one wire question with the result of Keras."""
    from quantcheck.wire import arrays

    operation = question["operation"]
    unsupported = OUT_OF_REACH.get(os.environ.get("KERAS_BACKEND", ""), {}).get(operation)
    if unsupported is not None:
        return {"unsupported": unsupported}
    if operation not in OPERATIONS:
        return {"unsupported": ABSENT.get(operation, f"Keras has no {operation}")}
    inputs = {
        name: [arrays.decode_array(v) for v in value]
        if isinstance(value, list)
        else arrays.decode_array(value)
        for name, value in question["inputs"].items()
    }
    try:
        outputs = OPERATIONS[operation](inputs, question["parameters"])
    except (Unsupported, NotImplementedError) as error:
        return {"unsupported": str(error)}
    except Exception as error:
        missing = releases.missing(error)
        if missing is not None:
            return {"unsupported": missing}
        if not refuses(error):
            raise
        return {"refused": str(error), "type": type(error).__name__}
    return {"outputs": arrays.encode(outputs)}


def refuses(error: Exception) -> bool:
    """Tell whether an exception is a refusal of bad input, and not a failure of Keras.

    For bad input Keras, NumPy and JAX raise built-in types of Python. Each other backend has one
    type for wrong shapes, axes, dtypes or values:

    - TensorFlow has `InvalidArgumentError`; missing parts and internal errors have other types.
    - PyTorch has `RuntimeError` itself and `LinAlgError`. Lack of memory, failed devices and
      recursion have subclasses of `RuntimeError`. The message of a failed internal assertion says
      so.
    - OpenVINO has `RuntimeError` of a check that failed while a node was validated.

    Parameters
    ----------
    error : Exception
        Raised while answering a question.

    Returns
    -------
    bool
    """
    if isinstance(error, REFUSALS):
        return True
    kind = type(error)
    if kind is RuntimeError:
        backend = os.environ.get("KERAS_BACKEND")
        if backend == "torch":
            return "INTERNAL ASSERT FAILED" not in str(error)
        return backend == "openvino" and "While validating node" in str(error)
    known = (kind.__module__.partition(".")[0], kind.__name__)
    return known in {("tensorflow", "InvalidArgumentError"), ("torch", "_LinAlgError")}


def main(arguments: list[str] | None = None) -> None:
    """Choose the backend before Keras is imported, then serve."""
    out = claim_stdout()
    parser = argparse.ArgumentParser(prog="quantcheck.targets.keras")
    parser.add_argument("--backend", required=True)
    backend = parser.parse_args(arguments).backend
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the answer alone reports a refusal
    releases.require_one_keras()
    import keras

    releases.require_gptq(keras.__version__)
    ready = {
        "name": "keras",
        "version": keras.__version__,
        "backend": keras.backend.backend(),
        "precision": "float32",
        "operations": sorted(OPERATIONS),
        "calibration_order": releases.current().calibration_order,
        "compiles": keras.backend.backend() in COMPILING,
        "versions": versions_of(
            "keras", "keras-nightly", "numpy", "jax", "tensorflow", "torch", "openvino"
        ),
    }
    serve(answer, ready, out)


if __name__ == "__main__":
    main()
