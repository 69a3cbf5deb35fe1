"""Released quantization libraries as targets, one module each.

An adapter calls the library's own functions, and computes nothing itself: it reshapes, transposes
and renames. What the library lacks, or does by rules that SPEC.md has no name for, is unsupported.
"""

from __future__ import annotations

from importlib.util import find_spec

LIBRARIES = {
    "onnxruntime": "onnxruntime",
    "ai-edge-quantizer": "ai_edge_quantizer",
    "llmcompressor": "llmcompressor",
    "neural-compressor": "neural_compressor",
    "nncf": "nncf",
    "torchao": "torchao",
    "gptqmodel": "gptqmodel",
}
"""The name of each target, and the module of its adapter in this package."""

PACKAGES = {"ai-edge-quantizer": "ai_edge_quantizer", "neural-compressor": "neural_compressor"}
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",  # answers are those of the CPU
    "HF_HUB_OFFLINE": "1",  # nothing is downloaded
    "TRANSFORMERS_OFFLINE": "1",
}
"""Variables of a library's process."""


def is_installed(name: str) -> bool:
    """Tell whether a library is installed, without importing it.

    Examples
    --------
    >>> is_installed("no-such-library")
    False
    """
    return find_spec(PACKAGES.get(name, name)) is not None
