"""Models of Keras, on any of its backends. Only this package imports Keras, inside functions.

`quantize` quantizes a model and returns `Quantized`; `certify` judges a quantized model. Reading
order: `loading` reads a model, `layers` reads and writes one layer, `graph` runs a part of a model,
`structure` finds the parts, `quantize` passes them to `quantref.models`, `int8` is for AbsMax,
`forms` writes the result, and `reload` loads it in a new process.
"""

from quantref.keras.certify import certify
from quantref.keras.quantize import Quantized, quantize

__all__ = ["Quantized", "certify", "quantize"]
