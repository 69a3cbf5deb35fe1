"""Variants: correct implementations that differ from the reference in arithmetic only.

The suite must never fail them. They refuse the same inputs as the reference, and use its operations
without arithmetic (bytes, configs, rounding to integers).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from quantcheck.targets.reference import operations
from quantcheck.targets.variants import gptq
from quantcheck.targets.variants.arithmetic import Arithmetic
from quantcheck.targets.variants.gptq import Job
from quantcheck.wire.arrays import decode, encode
from quantcheck.wire.configs import absmax_arguments

__all__ = ["VARIANTS", "Variant", "find"]

Outputs = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One correct implementation.

    Attributes
    ----------
    id : str
    sentence : str
        Description of its arithmetic.
    arithmetic : Arithmetic
    form : callable
        The form of GPTQ, from `quantcheck.targets.variants.gptq`.
    inverse_factor : callable
        Returns U for a Hessian.
    threads : int, optional
        Largest number of threads of the BLAS.
    jitter : int, optional
        Moves scales and dequantized values within their allowed errors. This seed and the question
        decide how, so that the same question has the same answer.
    """

    id: str
    sentence: str
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    form: Callable[[Job], None] = gptq.textbook
    inverse_factor: gptq.InverseFactor = gptq.by_reversal
    threads: int | None = None
    jitter: int | None = None

    @property
    def precision(self) -> str:
        """Working precision, for the handshake."""
        return self.arithmetic.dtype

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question of the wire format."""
        return self.answer_like(operations.answer(question), question)

    def answer_like(self, given: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, given that of the reference, which all variants may share."""
        operation = getattr(self._for(question), f"_{question['operation']}", None)
        if operation is None or "outputs" not in given:
            return given
        inputs, parameters = decode(question["inputs"]), question["parameters"]
        with self._limited(), np.errstate(over="ignore"):
            outputs = operation(inputs, parameters)
        return {"id": question["id"], "outputs": encode(outputs)}

    def _for(self, question: dict[str, Any]) -> Variant:
        """Return the variant, with a generator for this question if it has a seed."""
        if self.jitter is None:
            return self
        text = json.dumps({**question, "id": ""}, sort_keys=True)
        generator = np.random.default_rng([self.jitter, zlib.crc32(text.encode())])
        return replace(self, arithmetic=replace(self.arithmetic, jitter=generator))

    def _limited(self) -> AbstractContextManager[Any]:
        if self.threads is None:
            return nullcontext()
        from threadpoolctl import threadpool_limits

        limits: AbstractContextManager[Any] = threadpool_limits(self.threads)
        return limits

    def _abs_max_quantize(self, inputs: Outputs, parameters: dict[str, Any]) -> Outputs:
        return self.arithmetic.abs_max(inputs["x"], parameters, parameters["axis"])

    def _abs_max_quantizer(self, inputs: Outputs, parameters: dict[str, Any]) -> Outputs:
        arguments, axis = absmax_arguments(parameters), parameters["call_axis"]
        axis = arguments["axis"] if axis is None else axis
        return self.arithmetic.abs_max(inputs["x"], arguments, -1 if axis is None else axis)

    def _abs_max_dequantize(self, inputs: Outputs, _parameters: dict[str, Any]) -> Outputs:
        return {"values": self.arithmetic.abs_max_dequantize(inputs["codes"], inputs["scale"])}

    def _affine_parameters(self, inputs: Outputs, parameters: dict[str, Any]) -> Outputs:
        return dict(self.arithmetic.affine_parameters(inputs["weights"], parameters))

    def _affine_quantize(self, inputs: Outputs, parameters: dict[str, Any]) -> Outputs:
        return {"codes": self.arithmetic.affine_quantize(inputs, parameters["bits"])}

    def _affine_dequantize(self, inputs: Outputs, _parameters: dict[str, Any]) -> Outputs:
        return {"values": self.arithmetic.affine_dequantize(inputs)}

    def _hessian(self, inputs: Outputs, _parameters: dict[str, Any]) -> Outputs:
        return {"hessian": self.arithmetic.hessian(inputs["batches"])}

    def _prepare_hessian(self, inputs: Outputs, parameters: dict[str, Any]) -> Outputs:
        return dict(
            self.arithmetic.prepare(
                inputs["hessian"], parameters["damping"], ordered=parameters["activation_order"]
            )
        )

    def _factor(self, inputs: Outputs, _parameters: dict[str, Any]) -> Outputs:
        exact = inputs["hessian"].astype(np.float64)
        h = ((exact + exact.T) / 2).astype(self.arithmetic.dtype)
        return {"factor": np.triu(np.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1])}

    def _gptq_quantize(self, inputs: Outputs, parameters: dict[str, Any]) -> Outputs:
        job = Job(self.arithmetic, self.inverse_factor, inputs, parameters)
        self.form(job)
        return dict(job.answer())


DOUBLE = Arithmetic("float64")
VARIANTS: tuple[Variant, ...] = (
    Variant("float32-textbook", "Single precision throughout, errors carried at once."),
    Variant("float64-textbook", "Double precision throughout, errors carried at once.", DOUBLE),
    Variant("float32-lazy", "Single precision, errors carried block by block.", form=gptq.lazy),
    Variant("float64-lazy", "Double precision, errors carried block by block.", DOUBLE, gptq.lazy),
    Variant("float32-gathered", "Single precision, one product a column.", form=gptq.gathered),
    Variant(
        "float32-original",
        "Single precision like the original code: the inverse, its Cholesky factor, lazy blocks.",
        form=gptq.lazy,
        inverse_factor=gptq.by_inverse,
    ),
    Variant(
        "float64-inverse",
        "Double precision: the inverse of the Hessian, then its Cholesky factor.",
        DOUBLE,
        inverse_factor=gptq.by_inverse,
    ),
    Variant(
        "float64-numpy",
        "Double precision: NumPy's Cholesky factor and general inverse.",
        DOUBLE,
        inverse_factor=gptq.by_numpy,
    ),
    Variant(
        "float32-numpy",
        "Single precision: NumPy's factor and inverse.",
        inverse_factor=gptq.by_numpy,
    ),
    Variant(
        "float32-ldl", "Single precision, feedback without an inverse.", form=gptq.ldl_feedback
    ),
    Variant(
        "float64-ldl", "Double precision, feedback without an inverse.", DOUBLE, gptq.ldl_feedback
    ),
    Variant(
        "float32-reciprocal",
        "Single precision, multiplying by reciprocals instead of dividing, and vice versa.",
        Arithmetic(reciprocal=True),
        gptq.lazy,
    ),
    Variant(
        "float32-fused",
        "Single precision, w − s·(q − z) in a fused multiply-add.",
        Arithmetic(fused=True),
        gptq.lazy,
    ),
    Variant(
        "float64-range-first",
        "Double precision, but ranges are rounded to single before they are divided.",
        Arithmetic("float64", range_first=True),
    ),
    Variant(
        "float32-running-mean",
        "Single precision, the Hessian a mean that is rescaled from batch to batch.",
        Arithmetic(running_mean=True),
        gptq.gathered,
    ),
    Variant(
        "float32-tiles",
        "Single precision, tiles of 64 rows and of 64 tokens, what is left over alone.",
        Arithmetic(tile=64),
        gptq.tiled,
    ),
    Variant(
        "float32-padded",
        "Single precision, slices, groups and batches filled with zeros to a multiple of 64.",
        Arithmetic(padded=True),
    ),
    Variant(
        "float64-padded",
        "Double precision, slices, groups and batches filled with zeros to a multiple of 64.",
        Arithmetic("float64", padded=True),
        gptq.lazy,
    ),
    Variant(
        "float32-1-thread", "Single precision, BLAS with one thread.", form=gptq.lazy, threads=1
    ),
    Variant(
        "float32-2-threads", "Single precision, BLAS with two threads.", form=gptq.lazy, threads=2
    ),
    Variant(
        "float32-jitter",
        "Single precision, scales and dequantized values anywhere within their allowed errors.",
        form=gptq.lazy,
        jitter=0,
    ),
    Variant(
        "float64-jitter",
        "Double precision, scales and dequantized values anywhere within their allowed errors.",
        DOUBLE,
        jitter=0,
    ),
)


def find(identity: str) -> Variant:
    """Return the variant with an id.

    Examples
    --------
    >>> find("float32-ldl").precision
    'float32'
    """
    for variant in VARIANTS:
        if variant.id == identity:
            return variant
    raise LookupError(f"no variant {identity!r}; there are {', '.join(v.id for v in VARIANTS)}")
