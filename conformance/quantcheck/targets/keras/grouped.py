"""The operations of the four-bit mode as calls of Keras."""

from __future__ import annotations

import inspect

from quantcheck.targets.keras.config import Inputs, Outputs, Parameters, Unsupported
from quantcheck.targets.keras.routes import called, of_release, tensor
from quantcheck.targets.keras.tensors import to_numpy


def grouped_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.abs_max_quantize_grouped_with_zero_point`."""
    function = of_release("abs_max_quantize_grouped_with_zero_point")
    results = called(
        lambda x, **options: function(
            x,
            block_size=parameters["block_size"],
            value_range=tuple(parameters["value_range"]),
            dtype=parameters["output_dtype"],
            epsilon=parameters["epsilon"],
            **options,
        ),
        inputs["weights"],
        parameters.get("route", ""),
    )
    names = ("codes", "scale", "zero_point")
    return {name: to_numpy(result) for name, result in zip(names, results, strict=True)}


def grouped_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """`dequantize_with_sz_map` along the first axis, as layers of mode int4 call it."""
    import keras
    from keras.src.quantizers.quantizers import dequantize_with_sz_map

    if "group_axis" not in inspect.signature(dequantize_with_sz_map).parameters:
        raise Unsupported(f"Keras {keras.__version__} has no groups along the first axis")
    values = dequantize_with_sz_map(
        tensor(inputs["codes"]),
        tensor(inputs["scale"]),
        tensor(inputs["zero_point"]),
        tensor(inputs["g_idx"]),
        group_axis=0,
    )
    return {"values": to_numpy(values)}
