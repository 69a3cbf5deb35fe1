"""quantref: a reference of AbsMax and GPTQ quantization in NumPy, and of what they must return.

Reading order, each module beside the section of SPEC.md of the same name:

1. `config`: what can be asked for (section 1); `inputs`: what is refused.
2. `rounding`, `affine`, `absmax`, `packing`: numbers to codes and back (sections 2 to 5);
   `rules`: the points on which quantizers differ, the first of each pair as SPEC.md has it.
3. `hessian`, `gptq`: the algorithm, one screen each (sections 6 and 7).
4. `certificate`: judges any answer of GPTQ from weights, Hessian and answer alone (section 8);
   `checks`: what it says.
5. `layers`: what quantized layers return (section 9).
6. `calibration`: windows of a dataset, and small models block by block (section 10).

`fast` has the same functions for speed. This module chooses which form is public: the fast one
where there are two, and `gptq_textbook` is the plain form of `gptq_quantize`.

Everything else is a room, a package that says by its name what it is for: `models` quantizes any
model block by block, `formats` has the files that others load, `keras` brings models of Keras,
`cli` is the command line.
"""

from typing import TYPE_CHECKING, Any

from quantref.absmax import AbsMaxQuantizer, abs_max_dequantize
from quantref.affine import affine_dequantize, affine_parameters, affine_quantize, group_index
from quantref.config import GPTQConfig, Int8QuantizationConfig, QuantizationConfig, Quantizer
from quantref.errors import QuantrefError
from quantref.fast.absmax import abs_max_quantize
from quantref.fast.gptq import gptq_quantize
from quantref.fast.hessian import HessianAccumulator, accumulate_hessian, prepare_hessian
from quantref.fast.packing import pack_codes, unpack_codes
from quantref.gptq import GPTQResult
from quantref.gptq import gptq_quantize as gptq_textbook
from quantref.rounding import round_half_even, saturating_cast
from quantref.rules import DEFAULT_PROFILE, KERAS_PROFILE, ORIGINAL_PROFILE, Profile

if TYPE_CHECKING:
    from quantref.checks import Certificate
    from quantref.fast.certificate import certify

AbsMaxQuantizer.quantize = staticmethod(abs_max_quantize)  # no section module imports `fast`

__version__ = "0.1.0"
SPEC_VERSION = "0.1"

__all__ = [
    "DEFAULT_PROFILE",
    "KERAS_PROFILE",
    "ORIGINAL_PROFILE",
    "SPEC_VERSION",
    "AbsMaxQuantizer",
    "Certificate",
    "GPTQConfig",
    "GPTQResult",
    "HessianAccumulator",
    "Int8QuantizationConfig",
    "Profile",
    "QuantizationConfig",
    "Quantizer",
    "QuantrefError",
    "abs_max_dequantize",
    "abs_max_quantize",
    "accumulate_hessian",
    "affine_dequantize",
    "affine_parameters",
    "affine_quantize",
    "certify",
    "gptq_quantize",
    "gptq_textbook",
    "group_index",
    "pack_codes",
    "prepare_hessian",
    "round_half_even",
    "saturating_cast",
    "unpack_codes",
]


def __getattr__(name: str) -> Any:
    """Import the certificate when it is first asked for: it is a third of what there is."""
    if name not in {"Certificate", "certify"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from quantref.fast import certificate

    return getattr(certificate, name)
