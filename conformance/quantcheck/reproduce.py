"""Turns a question into plain Keras lines that show the same answer, without this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INLINE = 256  # elements; larger arrays are read from the vector's file
Question = Mapping[str, Any]


def keras_lines(
    question: Question, *, backend: str, section: str, expected: str = "", got: str = ""
) -> list[str]:
    """Self-contained Python lines: they need Keras and NumPy, and print what comes.

    Parameters
    ----------
    question : mapping
        A wire question.
    backend : str
        Value of KERAS_BACKEND.
    section : str
        Folder of the vector, for arrays too large to print.
    expected, got : str
        Put behind the lines as comments.

    Returns
    -------
    list of str
        Lines without line ends; empty when Keras has no such operation.
    """
    maker = _MAKERS.get(question["operation"])
    if maker is None:
        return []
    body = maker(question["parameters"])
    lines = [
        "import os",
        f'os.environ["KERAS_BACKEND"] = "{backend}"',
        "import json, keras, numpy as np",
    ]
    arrays = _arrays(question, section)
    if any("ml_dtypes" in line for line in arrays):
        lines.append("import ml_dtypes")
    lines += [*arrays, *body]
    lines += [f"# expected: {_one_line(expected)}"] if expected else []
    lines += [f"# came: {_one_line(got)}"] if got else []
    return lines


# Arrays


def _arrays(question: Question, section: str) -> list[str]:
    lines = []
    path = f"vectors/{section}/{question['id']}.json"
    if any(_too_large(value) for value in question["inputs"].values()):
        lines.append(f'inputs = json.load(open("{path}"))["inputs"]')
    for name, value in question["inputs"].items():
        if isinstance(value, list):
            items = [_array(v, f'inputs["{name}"][{i}]') for i, v in enumerate(value)]
            lines.append(f"{name} = [{', '.join(items)}]")
        else:
            source = f'inputs["{name}"]'
            lines.append(f"{name} = {_array(value, source)}")
    return lines


def _too_large(value: Any) -> bool:
    if isinstance(value, list):
        return any(_too_large(v) for v in value)
    return len(value["data"]) > INLINE


def _array(wire: Mapping[str, Any], source: str) -> str:
    dtype = wire["dtype"]
    kind = "ml_dtypes.bfloat16" if dtype == "bfloat16" else f'"{dtype}"'
    if _too_large(wire):
        data = f'[float(v) for v in {source}["data"]]' if "float" in dtype else f'{source}["data"]'
    else:
        data = f"[{', '.join(_number(v) for v in wire['data'])}]"
    return f"np.array({data}, {kind}).reshape({tuple(wire['shape'])})"


def _number(value: Any) -> str:
    words = {"NaN": "np.nan", "Infinity": "np.inf", "-Infinity": "-np.inf"}
    return words.get(value, str(value)) if isinstance(value, str) else repr(value)


def _one_line(text: str, width: int = 300) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[:width]}…"


def _axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


def _call(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        return f"keras.quantizers.{value['class']}({_call(value['arguments'])})"
    return repr(_axis(value))


# Operations


def _round(_: Question) -> list[str]:
    return ["print(keras.ops.round(keras.ops.convert_to_tensor(x)))"]


def _saturate(parameters: Question) -> list[str]:
    return [
        "rounded = keras.ops.round(keras.ops.convert_to_tensor(x))",
        f'print(keras.ops.saturate_cast(rounded, "{parameters["dtype"]}"))',
    ]


def _abs_max(parameters: Question) -> list[str]:
    return [
        "codes, scale = keras.quantizers.abs_max_quantize(",
        f"    x, axis={_axis(parameters['axis'])!r}, value_range={tuple(parameters['value_range'])},",
        f'    dtype="{parameters["output_dtype"]}", epsilon={parameters["epsilon"]!r})',
        "print(codes, scale)",
    ]


def _abs_max_quantizer(parameters: Question) -> list[str]:
    return [
        f"quantizer = keras.quantizers.AbsMaxQuantizer({_call(parameters['arguments'])})",
        f"codes, scale = quantizer(x, axis={_axis(parameters.get('call_axis'))!r})",
        "print(codes, scale)",
    ]


def _affine_parameters(parameters: Question) -> list[str]:
    return [
        "from keras.src.quantizers.quantizers import compute_quantization_parameters",
        "scale, zero_point, _ = compute_quantization_parameters(",
        f"    keras.ops.convert_to_tensor(weights), bits={parameters['bits']},"
        f" symmetric={parameters['symmetric']},",
        f"    per_channel={parameters['per_channel']}, group_size={parameters['group_size']})",
        "print(scale, zero_point)",
    ]


def _affine_quantize(parameters: Question) -> list[str]:
    return [
        "from keras.src.quantizers.quantizers import quantize_with_sz_map",
        "t = keras.ops.convert_to_tensor",
        "print(quantize_with_sz_map("
        f"t(weights), t(scale), t(zero_point), t(g_idx), {2 ** parameters['bits'] - 1}))",
    ]


def _affine_dequantize(_: Question) -> list[str]:
    return [
        "from keras.src.quantizers.quantizers import dequantize_with_sz_map",
        "t = keras.ops.convert_to_tensor",
        "print(dequantize_with_sz_map(t(codes), t(scale), t(zero_point), t(g_idx)))",
    ]


def _pack(parameters: Question) -> list[str]:
    return [
        f"print(keras.quantizers.pack_int4(codes, axis={parameters['axis']},"
        " dtype=str(codes.dtype))[0])"
    ]


def _unpack(parameters: Question) -> list[str]:
    return [
        "print(keras.quantizers.unpack_int4(keras.ops.convert_to_tensor(packed),"
        f" {parameters['length']}, axis={parameters['axis']}, dtype=str(packed.dtype)))"
    ]


def _hessian(_: Question) -> list[str]:
    return [
        "from keras.src.quantizers.gptq import GPTQ",
        "layer = keras.layers.Dense(1, use_bias=False)",
        "layer.build((None, batches[0].shape[-1] if batches and batches[0].ndim else 1))",
        "gptq = GPTQ(layer)",
        "for batch in batches: gptq.update_hessian_with_batch(keras.ops.convert_to_tensor(batch))",
        "print(gptq.hessian)",
    ]


def _gptq(parameters: Question) -> list[str]:
    return [
        "from keras.src.quantizers.gptq import GPTQ",
        "config = keras.quantizers.GPTQConfig(dataset=None, tokenizer=None,"
        f" weight_bits={parameters['bits']}, per_channel={parameters['per_channel']},",
        f"    hessian_damping={parameters['damping']!r}, group_size={parameters['group_size']},"
        f" symmetric={parameters['symmetric']}, activation_order={parameters['activation_order']})",
        "layer = keras.layers.Dense(weights.shape[0], use_bias=False, dtype=str(weights.dtype))",
        "layer.build((None, weights.shape[1]))",
        "layer.kernel.assign(weights.T)",
        'layer.quantize("gptq", config=config)',
        "gptq = GPTQ(layer, config)",
        'gptq.hessian = keras.ops.cast(keras.ops.convert_to_tensor(hessian), "float32")',
        f"gptq.quantize_and_correct_layer(blocksize={parameters['block_size']})",
        "kernel = keras.ops.convert_to_numpy(layer.quantized_kernel)",
        *(
            [
                "kernel = np.stack([kernel & 15, kernel >> 4], 1)"
                ".reshape(-1, weights.shape[1])[: weights.shape[0]]"
            ]
            if parameters["bits"] == 4
            else []
        ),
        "print(kernel, layer.kernel_scale.numpy(), layer.kernel_zero.numpy(), layer.g_idx.numpy())",
    ]


def _config(parameters: Question) -> list[str]:
    return [
        f"made = {_value(parameters)}",
        "text = json.dumps(keras.quantizers.serialize(made))",
        "print(vars(keras.quantizers.deserialize(json.loads(text))))",
    ]


_MAKERS = {
    "round_half_even": _round,
    "saturating_cast": _saturate,
    "abs_max_quantize": _abs_max,
    "abs_max_quantizer": _abs_max_quantizer,
    "affine_parameters": _affine_parameters,
    "affine_quantize": _affine_quantize,
    "affine_dequantize": _affine_dequantize,
    "pack": _pack,
    "unpack": _unpack,
    "hessian": _hessian,
    "gptq_quantize": _gptq,
    "config_round_trip": _config,
}
