"""Plain Keras lines per operation; the names of a question's inputs are bound before them."""

from __future__ import annotations

UNPACK_FOUR_BITS = (
    "np.stack([kernel & 15, kernel >> 4], 1).reshape(-1, weights.shape[1])[:weights.shape[0]]"
)

WINDOWS = """
from keras.src.quantizers.gptq_core import gptq_quantize
class CodePoints:
    def tokenize(self, text):
        return np.array([ord(character) for character in text], "int32")
class Recorder(keras.layers.Layer):
    def call(self, batch):
        print(keras.ops.convert_to_numpy(batch))
        return batch
tokenizers = {{"object": CodePoints(), "callable": CodePoints().tokenize, None: None}}
items = {texts} or dataset
config = keras.quantizers.GPTQConfig(
    dataset=iter(items) if {iterable} == "generator" else items,
    tokenizer=tokenizers[{tokenizer}], num_samples={num_samples},
    sequence_length={sequence_length})
structure = {{"pre_block_layers": [Recorder()], "sequential_blocks": [keras.layers.Identity()]}}
gptq_quantize(config, structure)
"""

CALL = """shown = keras.ops.convert_to_numpy
print(shown(layer(keras.ops.convert_to_tensor(inputs), **keywords)))"""
RELOAD = """
import tempfile
path = tempfile.mkdtemp() + "/layer.keras"
start = keras.Input(batch_shape=inputs.shape, dtype=str(inputs.dtype))
keras.Model(start, layer(start, **keywords)).save(path)
model = keras.saving.load_model(path)
print(shown(model(keras.ops.convert_to_tensor(inputs))))
print(vars(model.layers[-1].quantization_config))
"""
PACKED = """
layer.quantize("gptq", config={config})
del layer._kernel
layer.quantized_kernel.assign(packed)
layer.kernel_scale.assign(scale)
layer.kernel_zero.assign(zero_point)
layer.g_idx.assign(g_idx.astype("float32"))
layer.is_gptq_calibrated = True
inputs, keywords = x, {{}}
{call}
"""
MODEL = """
def dense(x, activation, kernel, bias):
    layer = keras.layers.Dense(len(bias), activation=activation)
    y = layer(x)
    layer.set_weights([kernel.T, bias])
    layers.append(layer)
    return y
arrays, layers, parts = iter(zip(weights, biases)), [], []
entry = keras.Input((None,), dtype="int32")
embed = keras.layers.Embedding(*embedding.shape)
x = embed(entry)
embed.set_weights([embedding])
for block in {blocks}:
    start = keras.Input((None, x.shape[-1]))
    y = start
    for activation in block["activations"]:
        y = dense(y, activation, *next(arrays))
    parts.append(keras.Model(start, start + y if block["residual"] else y))
    x = parts[-1](x)
model = keras.Model(entry, dense(x, "linear", *next(arrays)))
"""
INT8 = """
model.quantize("int8")
for layer in layers:
    print(keras.ops.convert_to_numpy(layer.kernel), keras.ops.convert_to_numpy(layer.kernel_scale))
"""
GPTQ = """
from keras.src.quantizers.gptq import GPTQ
update, updates = GPTQ.update_hessian_with_batch, []
def counted(self, batch):
    updates.append(batch.shape)
    return update(self, batch)
GPTQ.update_hessian_with_batch = counted
class Tokenizer:
    def tokenize(self, text):
        return np.array([ord(character) for character in text], "int32")
config = keras.quantizers.GPTQConfig(
    dataset=dataset, tokenizer=Tokenizer(), weight_bits={bits}, num_samples={num_samples},
    per_channel={per_channel}, sequence_length={sequence_length}, hessian_damping={damping},
    group_size={group_size}, symmetric={symmetric}, activation_order={activation_order},
    quantization_layer_structure={{"pre_block_layers": [embed], "sequential_blocks": parts}})
model.quantize("gptq", config=config)
GPTQ.update_hessian_with_batch = update
print("updates of a Hessian:", len(updates))
for layer in layers[:-1]:
    print(keras.ops.convert_to_numpy(layer.quantized_kernel))
    print(keras.ops.convert_to_numpy(layer.kernel_scale))
"""

TEMPLATES = {
    "round_half_even": """
print(keras.ops.round(keras.ops.convert_to_tensor(x)))
""",
    "saturating_cast": """
rounded = keras.ops.round(keras.ops.convert_to_tensor(x))
print(keras.ops.saturate_cast(rounded, {dtype}))
""",
    "abs_max_quantize": """
codes, scale = keras.quantizers.abs_max_quantize(
    x, axis={axis}, value_range={value_range}, dtype={output_dtype}, epsilon={epsilon})
print(codes, scale)
""",
    "abs_max_quantizer": """
quantizer = keras.quantizers.AbsMaxQuantizer({arguments})
codes, scale = quantizer(x, axis={call_axis})
print(codes, scale)
""",
    "affine_parameters": """
from keras.src.quantizers.quantizers import compute_quantization_parameters
scale, zero_point, _ = compute_quantization_parameters(
    keras.ops.convert_to_tensor(weights), bits={bits}, symmetric={symmetric},
    per_channel={per_channel}, group_size={group_size})
print(scale, zero_point)
""",
    "affine_quantize": """
from keras.src.quantizers.quantizers import quantize_with_sz_map
t = keras.ops.convert_to_tensor
print(quantize_with_sz_map(t(weights), t(scale), t(zero_point), t(g_idx), {maxq}))
""",
    "affine_dequantize": """
from keras.src.quantizers.quantizers import dequantize_with_sz_map
t = keras.ops.convert_to_tensor
print(dequantize_with_sz_map(t(codes), t(scale), t(zero_point), t(g_idx)))
""",
    "pack": """
print(keras.quantizers.pack_int4(codes, axis={axis}, dtype=str(codes.dtype))[0])
""",
    "unpack": """
packed_tensor = keras.ops.convert_to_tensor(packed)
print(keras.quantizers.unpack_int4(packed_tensor, {length}, axis={axis}, dtype=str(packed.dtype)))
""",
    "hessian": """
from keras.src.quantizers.gptq import GPTQ
layer = keras.layers.Dense(1, use_bias=False)
layer.build((None, batches[0].shape[-1] if batches and batches[0].ndim else 1))
gptq = GPTQ(layer)
for batch in batches:
    gptq.update_hessian_with_batch(keras.ops.convert_to_tensor(batch))
print(gptq.hessian)
""",
    "gptq_quantize": """
from keras.src.quantizers.gptq import GPTQ
config = keras.quantizers.GPTQConfig(
    dataset=None, tokenizer=None, weight_bits={bits}, per_channel={per_channel},
    hessian_damping={damping}, group_size={group_size}, symmetric={symmetric},
    activation_order={activation_order})
layer = keras.layers.Dense(weights.shape[0], use_bias=False, dtype=str(weights.dtype))
layer.build((None, weights.shape[1]))
layer.kernel.assign(weights.T)
layer.quantize("gptq", config=config)
gptq = GPTQ(layer, config)
gptq.hessian = keras.ops.cast(keras.ops.convert_to_tensor(hessian), "float32")
gptq.quantize_and_correct_layer(blocksize={block_size})
kernel = keras.ops.convert_to_numpy(layer.quantized_kernel)
print("codes", {unpacked})
for name in ("kernel_scale", "kernel_zero", "g_idx"):
    print(name, keras.ops.convert_to_numpy(getattr(layer, name)))
""",
    "config_round_trip": """
made = {made}
text = json.dumps(keras.saving.serialize_keras_object(made))
print(vars(keras.saving.deserialize_keras_object(json.loads(text))))
""",
    "quantize_model_int8": MODEL + INT8.strip(),
    "quantize_model_gptq": MODEL + GPTQ.strip(),
    "calibration_windows": WINDOWS,
    "calibration_processes": WINDOWS + "# Run it twice: the windows are others in each process.\n",
    "dense_int8": """
layer = keras.layers.Dense(kernel.shape[1], activation={activation}, use_bias={has_bias})
layer.build(x.shape)
layer.set_weights({weights})
layer.quantize("int8", config={config})
inputs, keywords = x, {{}}
{call}
""",
    "einsum_dense_int8": """
layer = keras.layers.EinsumDense(
    {equation}, output_shape={output_shape}, bias_axes={bias_axes}, activation={activation})
layer.build(x.shape)
layer.set_weights({weights})
layer.quantize("int8", config={config})
inputs, keywords = x, {{}}
{call}
""",
    "dense_gptq": """
layer = keras.layers.Dense(scale.shape[0], activation={activation}, use_bias={has_bias})
layer.build(x.shape){assign_bias}"""
    + PACKED,
    "einsum_dense_gptq": """
layer = keras.layers.EinsumDense(
    {equation}, output_shape={output_shape}, bias_axes={bias_axes}, activation={activation})
layer.build(x.shape){assign_bias}"""
    + PACKED,
    "embedding_int8": """
layer = keras.layers.Embedding(*embeddings.shape)
layer.build()
layer.set_weights([embeddings])
layer.quantize("int8", config={config})
inputs, keywords = tokens, {{}}
{call}
""",
    "reversible_embedding_int8": """
layer = keras.layers.ReversibleEmbedding(*embeddings.shape, tie_weights={tie_weights})
layer.build()
layer.set_weights({weights})
layer.quantize("int8", config={config})
inputs, keywords = {given}, {{"reverse": {reverse}}}
{call}
""",
}
