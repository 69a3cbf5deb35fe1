"""Plain Keras lines per operation; the names of a question's inputs are bound before them."""

from __future__ import annotations

UNPACK_FOUR_BITS = (
    "np.stack([kernel & 15, kernel >> 4], 1).reshape(-1, weights.shape[1])[:weights.shape[0]]"
)

BY_RECIPE = """
def draws(seed, shape, most):
    z = np.arange(1, np.prod(shape) + 1, dtype="uint64") * np.uint64(0x9E3779B97F4A7C15)
    z = z + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (z ^ (z >> np.uint64(31))) >> np.uint64(33)
    return (z % np.uint64(2 * most + 1)).astype("int64").reshape(shape) - most
def made(dtype, shape, recipe, sha256):
    seed, n, unit = recipe["seed"], shape[1], 2.0 ** -recipe["shift"]
    if recipe["kind"] == "weights":
        w = draws(seed, shape, recipe["spread"]) * unit
        w.reshape(-1)[recipe["every"] - 1 :: recipe["every"]] *= 2.0 ** recipe["outlier_shift"]
        return w.astype(dtype)
    tokens, rank = recipe["tokens"], recipe["rank"]
    x = draws(seed, (tokens, n), recipe["noise"]) + (
        draws(seed + 1, (tokens, rank), recipe["factor"])
        @ draws(seed + 2, (rank, n), recipe["loading"]))
    x = x * unit
    x[:, recipe["large"]] *= 2.0 ** recipe["large_shift"]
    x[:, recipe["dead"]] = 0
    return (x.T @ x * (2 / tokens) + 0.0).astype(dtype)
"""
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
# By the use that a question makes of the layer; its inputs are in `inputs`.
IN_MODEL = """start = keras.Input(batch_shape=inputs.shape, dtype=str(inputs.dtype))
model = keras.Model(start, layer(start, **keywords))
"""
COPY = """made.set_weights(layer.get_weights())
print(shown(made(keras.ops.convert_to_tensor(inputs), **keywords)))
print(vars(made.quantization_config))"""
USES = {
    "training": IN_MODEL + "layer = lambda x, **_: model(x, training=True)\n",
    "cloned": IN_MODEL + "made = keras.models.clone_model(model).layers[-1]\n" + COPY,
    "serialized": "text = json.dumps(keras.saving.serialize_keras_object(layer))\n"
    "made = keras.saving.deserialize_keras_object(json.loads(text))\n" + COPY,
    "quantized twice": "layer.quantize(layer.quantization_mode)",
}
COMPILE = """tensor = keras.ops.convert_to_tensor(inputs)
eager, backend = layer, keras.backend.backend()
if backend == "jax":
    import jax
    layer = jax.jit(lambda x, **_: eager(x, **keywords))
if backend == "tensorflow":
    import tensorflow
    layer = tensorflow.function(lambda x, **_: eager(x, **keywords))
if backend == "torch":
    import torch
    layer = torch.compile(lambda x, **_: eager(x, **keywords), backend="aot_eager")
"""
# Where the layer stands in a model that is quantized, called, copied and saved in its stead.
HOLDER = """class Holder(keras.layers.Layer):
    def __init__(self, block):
        super().__init__()
        self.block = block
    def call(self, inputs):
        return self.block(inputs)
"""
PLACED = {
    "in a model": IN_MODEL,
    "called twice in a model": """start = keras.Input(
    batch_shape=inputs.shape, dtype=str(inputs.dtype))
model = keras.Model(start, [layer(start, **keywords), layer(start, **keywords)])
""",
    "in a block": IN_MODEL
    + """block, start = model, keras.Input(batch_shape=inputs.shape, dtype=str(inputs.dtype))
model = keras.Model(start, block(start))
""",
    "in a block of a layer": HOLDER
    + IN_MODEL
    + """block = Holder(model)
start = keras.Input(batch_shape=inputs.shape, dtype=str(inputs.dtype))
model = keras.Model(start, block(start))
""",
}
BLOCK = """class Shaped(keras.layers.Layer):
    def call(self, hidden):
        return keras.ops.reshape(hidden, (-1, *x.shape[1:]))
table = np.concatenate([x.reshape(len(x), -1), np.eye(x[0].size, dtype=x.dtype)])
embedding, start = keras.layers.Embedding(*table.shape), keras.Input((None,), dtype="int32")
hidden, inner = embedding(start), keras.Input((None, table.shape[1]))
embedding.set_weights([table])
"""
BLOCKS = {
    "in a block": "block = keras.Model(inner, layer(Shaped()(inner)))\n",
    "called twice in a model": "block = keras.Model(inner, keras.layers.Concatenate(0)(\n"
    "    [layer(Shaped()(inner)), layer(Shaped()(inner))]))\n",
    "in a block of a layer": HOLDER
    + "block = Holder(keras.Model(inner, layer(Shaped()(inner))))\n",
}
CALIBRATED = """model = keras.Model(start, block(hidden))
inputs = np.arange(len(x), dtype="int32")[None]
rows = np.arange({num_samples} * {sequence_length}).reshape({num_samples}, -1) % len(table)
texts = ["".join(map(chr, row)) for row in rows]
class CodePoints:
    def tokenize(self, text):
        return np.array([ord(character) for character in text], "int32")
structure = {{"pre_block_layers": [embedding], "sequential_blocks": [block]}}
{hook}config = keras.quantizers.GPTQConfig(
    {dataset}, {tokenizer}, {settings})
"""
DATASETS = {
    "list of arrays": "list(rows)",
    "generator of arrays": "iter(rows)",
    "one array": "rows",
    "list of strings": "texts",
    "generator of strings": "iter(texts)",
}
CALL_MODEL = """shown = keras.ops.convert_to_numpy
for each in keras.tree.flatten(called(keras.ops.convert_to_tensor(inputs))):
    print(shown(each))"""
RELOAD_MODEL = """
import tempfile
path = tempfile.mkdtemp() + "/layer.keras"
model.save(path)
custom = {name: globals()[name] for name in ("Holder", "Shaped") if name in globals()}
model = keras.saving.load_model(path, custom_objects=custom)
print(keras.tree.map_structure(shown, model(keras.ops.convert_to_tensor(inputs))))
"""
COPY_MODEL = """made.set_weights(model.get_weights())
print(keras.tree.map_structure(shown, made(keras.ops.convert_to_tensor(inputs))))"""
USES_OF_MODEL = {
    "cloned": "made = keras.models.clone_model(model)\n" + COPY_MODEL,
    "serialized": "text = json.dumps(keras.saving.serialize_keras_object(model))\n"
    "made = keras.saving.deserialize_keras_object(json.loads(text))\n" + COPY_MODEL,
    "quantized twice": "model.quantize(layer.quantization_mode)",
}
PACKED = """
inputs, keywords = x, {{}}
{quantized}
if hasattr(layer, "_kernel"):
    del layer._kernel
layer.quantized_kernel.assign(packed)
layer.kernel_scale.assign(scale)
layer.kernel_zero.assign(zero_point)
layer.g_idx.assign(g_idx.astype("float32"))
layer.is_gptq_calibrated = True
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
    {x}, axis={axis}, value_range={value_range}, dtype={output_dtype}, epsilon={epsilon})
print(codes, scale)
""",
    "abs_max_quantizer": """
quantizer = keras.quantizers.AbsMaxQuantizer({arguments})
codes, scale = quantizer({x}, axis={call_axis})
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
    "grouped_quantize": """
codes, scale, zero_point = keras.quantizers.abs_max_quantize_grouped_with_zero_point(
    {x}, block_size={block_size}, value_range={value_range}, dtype={output_dtype},
    epsilon={epsilon})
print(codes, scale, zero_point)
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
    "config_round_trip by object": """
print(vars(keras.quantizers.get({made})))
""",
    "config_round_trip by name": """
print(vars(keras.quantizers.get({class})))
""",
    "config_round_trip by serialized": """
print(vars(keras.quantizers.get(keras.quantizers.serialize({made}))))
""",
    "config_round_trip by deserialized": """
print(vars(keras.quantizers.deserialize(keras.quantizers.serialize({made}))))
""",
    "quantize_model_int8": MODEL + INT8.strip(),
    "quantize_model_gptq": MODEL + GPTQ.strip(),
    "calibration_windows": WINDOWS,
    "calibration_processes": WINDOWS + "# Run it twice: the windows are others in each process.\n",
    "dense_int8": """
layer = keras.layers.Dense(
    kernel.shape[1], activation={activation}, use_bias={has_bias}{of_policy})
layer.build(x.shape)
layer.set_weights({weights})
inputs, keywords = x, {{}}
{quantized}
{call}
""",
    "einsum_dense_int8": """
layer = keras.layers.EinsumDense(
    {equation}, output_shape={output_shape}, bias_axes={bias_axes},
    activation={activation}{of_policy})
layer.build(x.shape)
layer.set_weights({weights})
inputs, keywords = x, {{}}
{quantized}
{call}
""",
    "dense_gptq": """
layer = keras.layers.Dense(
    scale.shape[0], activation={activation}, use_bias={has_bias}{of_policy})
layer.build(x.shape){assign_bias}"""
    + PACKED,
    "einsum_dense_gptq": """
layer = keras.layers.EinsumDense(
    {equation}, output_shape={output_shape}, bias_axes={bias_axes},
    activation={activation}{of_policy})
layer.build(x.shape){assign_bias}"""
    + PACKED,
    "embedding_int8": """
layer = keras.layers.Embedding(*embeddings.shape{of_policy})
layer.build()
layer.set_weights([embeddings])
inputs, keywords = tokens, {{}}
{quantized}
{call}
""",
    "reversible_embedding_int8": """
layer = keras.layers.ReversibleEmbedding(*embeddings.shape, tie_weights={tie_weights}{of_policy})
layer.build()
layer.set_weights({weights})
inputs, keywords = {given}, {{"reverse": {reverse}}}
{quantized}
{call}
""",
}
