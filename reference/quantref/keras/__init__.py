"""Models of Keras, on any of its backends: the one package that imports Keras, when it is called.

`quantize` quantizes a model; `Quantized` is what comes back; `certify` judges a model that somebody
else quantized. Reading order: `layers` reads and
writes one layer, `graph` runs a part of a model, `structure` finds the parts, `quantize` brings
them to `quantref.models`, `forms` writes the result.
"""

from quantref.keras.certify import certify
from quantref.keras.quantize import Quantized, quantize

__all__ = ["Quantized", "certify", "quantize"]
