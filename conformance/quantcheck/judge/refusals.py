"""The requirement that a refusal breaks where an answer is expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quantcheck.spec.requirements import choices
from quantcheck.wire.cases import Case

SHOWN = {
    **dict.fromkeys(("ABS-140", "AFF-200", "FOUR-110", "GPTQ-170"), "scale"),
    "HES-140": "hessian",
}
"""By requirement: the output in which NaN and infinity of the inputs may show themselves."""
DOCUMENTED_BITS = 4
WIDTHS = {2: "PACK-050", 3: "PACK-060", 8: "PACK-060"}  # of codes whose packing is a choice


def broken_by_refusal(case: Case) -> str:
    """Return the requirement that a target breaks if it refuses the question.

    It is the first one of the case, unless the question has something that only a choice of
    SPEC.md asks a target to take: a batch of rank 1, or codes that are packed in other widths than
    4 bits.  [HES-120] [PACK-050] [PACK-060] [LAY-190]
    """
    batches = case.inputs.get("batches", ()) if case.operation == "hessian" else ()
    if any(batch.ndim == 1 for batch in batches):
        return "HES-120"
    bits = case.parameters.get("bits", DOCUMENTED_BITS)
    if case.operation in ("pack", "unpack") and bits != DOCUMENTED_BITS:
        return WIDTHS.get(bits, case.requirements[0])
    if case.operation in ("dense_gptq", "einsum_dense_gptq"):
        return layout_of(case) if layout_of(case) in choices() else case.requirements[0]
    return case.requirements[0]


def shows(case: Case, outputs: Mapping[str, Any]) -> bool:
    """Tell whether an answer shows NaN or infinity of the inputs, where it may.

    A sum shows them as NaN or infinity, a scale as one that is not finite and positive.
    [ABS-140] [AFF-200] [FOUR-110] [GPTQ-170] [HES-140]

    Examples
    --------
    >>> case = Case("a", "abs", "", "abs_max_quantize", ("ABS-140",), {}, {}, {"refused": "E"})
    >>> shows(case, {"scale": np.float32([1, 0])}), shows(case, {"scale": np.float32([1, 2])})
    (True, False)
    """
    name = SHOWN.get(case.requirements[0], "")
    value = outputs.get(name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fV":
        return False
    numbers = value.astype(np.float64)
    usual = np.isfinite(numbers) & ((numbers > 0) | (name == "hessian"))
    return not bool(usual.all())


def layout_of(case: Case) -> str:
    """Return the requirement that says how the kernel of a question is packed."""
    bits = case.parameters["config"]["arguments"].get("weight_bits", DOCUMENTED_BITS)
    return "LAY-180" if bits == DOCUMENTED_BITS else "LAY-190"
