"""Models of Keras, on any of its backends: the one package that imports Keras, when it is called.

`quantize` quantizes a model and returns `Quantized`; `certify` judges a model that is quantized
already. Reading order: `loading` reads a model, `layers` reads and writes one layer, `graph` runs a
part of a model, `structure` finds the parts, `quantize` brings them to `quantref.models`, `int8` is
for AbsMax, `forms` writes the result, and `reload` reads it back in a process of its own.
"""

from quantref.keras.certify import certify
from quantref.keras.quantize import Quantized, quantize

__all__ = ["Quantized", "certify", "quantize"]
