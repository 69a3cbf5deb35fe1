"""Plain Keras lines that differ between lines of releases, as quantcheck.targets.keras has them."""

from __future__ import annotations

from collections.abc import Mapping

from packaging.version import InvalidVersion, Version

from quantcheck.report.reproduction.templates import GPTQ, MODEL, PACKED, TEMPLATES, WINDOWS

STORED_3_13 = """layer.quantized_kernel.assign(packed)
layer.kernel_scale.assign(scale)
layer.kernel_zero.assign(zero_point)
layer.g_idx.assign(g_idx.astype("float32"))
layer.is_gptq_calibrated = True
"""
STORED_3_16 = """layer.quantized_kernel.assign(packed.T)
layer.kernel_scale.assign(scale.T)
layer.kernel_zero.assign(zero_point.T)
layer.g_idx.assign(g_idx.astype("float32"))
layer.calibration_pending = False
"""
PACKED_3_16 = PACKED.replace(STORED_3_13, STORED_3_16)
WINDOWS_3_16 = WINDOWS.replace("quantizers.gptq_core import", "quantizers.calibration_run import")
GPTQ_3_16 = (
    GPTQ.replace("import GPTQ\n", "import GPTQCalibrator\n")
    .replace("GPTQ.update_hessian_with_batch", "GPTQCalibrator.observe")
    .replace("kernel_scale))", "kernel_scale))  # (n_groups, n_out)")
)
OBSERVED_3_16 = """
from keras.src.quantizers.gptq import GPTQCalibrator
layer = keras.layers.Dense(1, use_bias=False)
layer.build((None, batches[0].shape[-1] if batches and batches[0].ndim else 1))
calibrator = GPTQCalibrator(layer, keras.quantizers.GPTQConfig(None, None))
for batch in batches:
    calibrator.observe(keras.ops.convert_to_tensor(batch))
print(calibrator.hessian)
"""
SOLVED_3_13 = """gptq = GPTQ(layer, config)
gptq.hessian = keras.ops.cast(keras.ops.convert_to_tensor(hessian), "float32")
gptq.quantize_and_correct_layer(blocksize={block_size})
kernel = keras.ops.convert_to_numpy(layer.quantized_kernel)
print("codes", {unpacked})
"""
SOLVED_3_16 = """calibrator = gptq.GPTQCalibrator(layer, config)
calibrator.hessian = keras.ops.cast(keras.ops.convert_to_tensor(hessian), "float32")
solve = gptq.gptq_quantize_matrix
gptq.gptq_quantize_matrix = lambda *a, **k: solve(*a, blocksize={block_size}, **k)
calibrator.quantize()
gptq.gptq_quantize_matrix = solve
layout = calibrator.strategy._get_pack_layout({bits}, weights.shape[0])
print("codes", keras.ops.convert_to_numpy(layout.unpack(layer.quantized_kernel)).T)
"""
BACKBONE_3_12 = """
import types
backbone = types.SimpleNamespace(
    token_embedding=Recorder(), transformer_layers=[keras.layers.Identity()])
gptq_quantize(types.SimpleNamespace(backbone=backbone), config)
"""
STRUCTURE = WINDOWS[WINDOWS.index("structure = ") :]

FROM_3_16 = {
    "hessian": OBSERVED_3_16,
    "gptq_quantize": TEMPLATES["gptq_quantize"]
    .replace(
        "from keras.src.quantizers.gptq import GPTQ\n", "from keras.src.quantizers import gptq\n"
    )
    .replace(SOLVED_3_13, SOLVED_3_16),
    "quantize_model_gptq": MODEL + GPTQ_3_16.strip(),
    "calibration_windows": WINDOWS_3_16,
    "calibration_processes": TEMPLATES["calibration_processes"].replace(WINDOWS, WINDOWS_3_16),
    "dense_gptq": TEMPLATES["dense_gptq"].replace(PACKED, PACKED_3_16),
    "einsum_dense_gptq": TEMPLATES["einsum_dense_gptq"].replace(PACKED, PACKED_3_16),
}
UP_TO_3_13 = {
    "affine_parameters": TEMPLATES["affine_parameters"].replace(
        "group_size={group_size})", "group_size={group_size}, weight=True)"
    ),
}
UP_TO_3_12 = {
    "calibration_windows": WINDOWS.replace(STRUCTURE, BACKBONE_3_12.lstrip()),
    "calibration_processes": TEMPLATES["calibration_processes"].replace(
        STRUCTURE, BACKBONE_3_12.lstrip()
    ),
    "quantize_model_gptq": "",
}


def templates_of(version: str) -> Mapping[str, str]:
    """Return the templates of a release of Keras; those of 3.14 and 3.15 for no version.

    Examples
    --------
    >>> "GPTQCalibrator" in templates_of("3.16.0.dev2026102704")["hessian"]
    True
    """
    try:
        release = Version(version).release[:2]
    except InvalidVersion:
        return TEMPLATES
    made = dict(TEMPLATES)
    if release >= (3, 16):
        made |= FROM_3_16
    if release <= (3, 13):
        made |= UP_TO_3_13
    if release <= (3, 12):
        made |= UP_TO_3_12
    return {operation: text for operation, text in made.items() if text}
