"""quantref: a reference of AbsMax and GPTQ quantization in NumPy.

Reading order; each module is a section of SPEC.md as code:

1. `config`: quantizers and configs (section 1). `inputs` has the checks of all arguments.
2. `rounding`, `affine`, `absmax`, `packing`: numbers to codes and back (sections 2 to 5). `rules`
   has the points on which quantizers differ; the first rule of each point is that of SPEC.md.
3. `hessian`, `gptq`: the algorithm (sections 6 and 7).
4. `certificate`: the check of an answer of GPTQ (section 8). `checks` has its messages.
5. `layers`: the outputs of quantized layers (section 9).
6. `calibration`: windows of a dataset, and small models block by block (section 10).
7. `int4`: kernels in groups with zero-points, without calibration, and their config (section 13).

`fast` has the same functions for speed. This module makes the fast form public if there is one;
`gptq_textbook` is the plain form of `gptq_quantize`.

Other packages use these: `models` quantizes any model block by block, `formats` writes files for
other programs, `keras` quantizes models of Keras, and `cli` is the command line.
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
from quantref.int4 import Int4QuantizationConfig
from quantref.profiles import KERAS_316_PROFILE, KERAS_PROFILE, ORIGINAL_PROFILE
from quantref.rounding import round_half_even, saturating_cast
from quantref.rules import DEFAULT_PROFILE, Profile

if TYPE_CHECKING:
    from quantref.checks import Certificate
    from quantref.fast.certificate import certify

AbsMaxQuantizer.quantize = staticmethod(abs_max_quantize)  # no section module imports `fast`

__version__ = "0.1.0"
SPEC_VERSION = "0.1"

__all__ = [
    "DEFAULT_PROFILE",
    "KERAS_316_PROFILE",
    "KERAS_PROFILE",
    "ORIGINAL_PROFILE",
    "SPEC_VERSION",
    "AbsMaxQuantizer",
    "Certificate",
    "GPTQConfig",
    "GPTQResult",
    "HessianAccumulator",
    "Int4QuantizationConfig",
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
    """Import the certificate when it is first used, because its import takes time."""
    if name not in {"Certificate", "certify"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from quantref.fast import certificate

    return getattr(certificate, name)
