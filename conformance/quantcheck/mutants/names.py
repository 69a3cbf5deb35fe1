"""The names that the suite has to give to mistakes of mutants.

Names are written out: a mutant must not be named by the same constant that names it.
"""

from __future__ import annotations

NAMES = {
    "aff-raw-range": "ranges without zero",
    "aff-symmetric-low": "symmetric ranges of the smallest weight alone",
    "aff-maxq": "ranges divided into 2^b steps, not 2^b - 1",
    "aff-zero-floor": "zero-points rounded down",
    "aff-per-tensor": "one range for all rows, or for each row",
    "aff-group-tail": "the short last group in the range of the one before",
    "hes-order-ascending": "another order of columns",
    "hes-order-ties": "another order of columns",
    "hes-damping-sum": "damping by the sum of the diagonal",
    "hes-damping-max": "damping by the largest of the diagonal",
    "hes-not-reversed": "the Hessian not reversed before it is factored",
    # Below the diagonal of an upper factor there are zeros alone.
    "hes-lower": "plain rounding: no error was fed back",
    "gptq-plain-rounding": "plain rounding: no error was fed back",
    "gptq-wrong-sign": "displacements subtracted, not added",
    "gptq-inverse-rows": "errors carried along rows of the inverse, not of its Cholesky factor",
    "gptq-hessian-rows": "the factor of the Hessian in place of that of its inverse",
    "gptq-no-diagonal": "error not divided by the pivot",
    "gptq-pivot-squared": "error divided by the square of the pivot",
    "gptq-block-forgotten": "errors stay inside their column block",
    "gptq-hessian-not-permuted": "another order of columns",
    "gptq-order-not-undone": "codes left in processing order",
    "gptq-static-groups": "group ranges taken from the original weights",
    "gptq-live-groups": "group ranges taken from live weights",
    "gptq-dead-kept": "weights of dead columns kept",
    "gptq-half-feedback": "weights carried in float16",
}
