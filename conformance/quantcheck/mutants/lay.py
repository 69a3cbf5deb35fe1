"""Mutants of section LAY: layers and their files."""

from quantcheck.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("lay-scale-multiplied", "quantref.layers", "Int8Dense.__call__",
           "sums / scales",
           "sums * scales",
           "Outputs are multiplied by the scales, which are multipliers.", "lay", blames="LAY-030"),
    mutant("lay-bias-first", "quantref.layers", "Int8Dense.__call__",
           "finish(sums / scales, self.bias, self.activation)",
           "finish((sums + (0 if self.bias is None else self.bias)) / scales, None, self.activation)",
           "The bias is added to the integer sums, so that it is divided by the scales too.", "lay", blames="LAY-050"),
    mutant("lay-activation-first", "quantref.layers", "finish",
           "values = values + bias.astype(np.float64)",
           """
           values = (np.maximum(values, 0.0) if activation == "relu" else values) + bias.astype(np.float64)
           activation = None
           """,
           "The activation comes before the bias.", "lay", blames="LAY-050"),
    mutant("lay-one-kernel-scale", "quantref.layers", "quantize_weights",
           "codes, scale = quantizer(w, axis=axes)",
           """
           codes, scale = quantizer(w, axis=tuple(range(w.ndim)))
           scale = scale + 0 * quantizer(w, axis=axes)[1]
           """,
           "The kernel has one scale instead of one per output.", "lay", blames="LAY-020"),
    mutant("lay-kernel-rows", "quantref.layers", "quantize_weights",
           "codes, scale = quantizer(w, axis=axes)",
           """
           codes, scale = quantizer(w, axis=-1)
           scale = np.resize(scale, quantizer(w, axis=axes)[1].shape)
           """,
           "The kernel's scales are taken along its last axis for every equation.", "lay", blames="LAY-020"),
    mutant("lay-one-input-scale", "quantref.layers", "Int8Dense.__call__",
           "codes, scale = absmax_of(quantizer)(x, axis=axes)",
           """
           codes, scale = quantizer(x, axis=tuple(range(x.ndim)))
           scale = scale + 0 * quantizer(x, axis=axes)[1]
           """,
           "All tokens share one scale.", "lay", blames="LAY-020"),
    mutant("lay-last-axis", "quantref.layers", "Int8Dense.__call__",
           "codes, scale = absmax_of(quantizer)(x, axis=axes)",
           """
           codes, scale = quantizer(x, axis=-1)
           scale = np.max(scale, axis=axes, keepdims=True)
           """,
           "Activations are quantized along the last axis alone, though two are summed.", "lay", blames="LAY-020"),
    mutant("lay-narrow-sums", "quantref.layers", "Int8Dense.__call__",
           "codes.astype(np.int64)",
           "codes.astype(np.int16)",
           "Sums of products are stored in 16 bits.", "lay", blames="LAY-030"),
    mutant("lay-weight-only-ignored", "quantref.layers", "Int8Dense.__call__",
           "self.config.activation_quantizer",
           "self.config.activation_quantizer or AbsMaxQuantizer()",
           "Activations are quantized although the config has no quantizer for them.", "lay", blames="LAY-040"),
    mutant("lay-embedding-multiplied", "quantref.layers", "Int8Embedding.__call__",
           "self.embeddings[t] / scale",
           "self.embeddings[t] * scale",
           "Rows are multiplied by their scale instead of divided.", "lay", blames="LAY-060"),
    mutant("lay-tied-not-turned", "quantref.layers", "Int8Embedding.reverse",
           "TIED",
           "DENSE",
           "The tied reverse call does not transpose the embedding.", "lay", blames="LAY-070"),
    mutant("lay-always-tied", "quantref.layers", "Int8Embedding.reverse",
           "back is None or scale is None",
           "True",
           "The reverse call uses the forward embeddings although it has its own.", "lay", blames="LAY-080"),
    mutant("lay-gptq-no-zero", "quantref.layers", "GPTQDense.__call__",
           "self.zero_point",
           "0 * self.zero_point",
           "The zero-point of a packed kernel is not subtracted.", "lay", blames="LAY-090"),
    mutant("lay-gptq-high-first", "quantref.layers", "GPTQDense.codes",
           "unpack_codes(self.packed, self.config.weight_bits, n_out, axis=0)",
           "unpack_codes((self.packed >> 4) | (self.packed << 4) if self.config.weight_bits == 4"
           " else self.packed, self.config.weight_bits, n_out, axis=0)",
           "Nibbles are read in the wrong order.", "lay", blames="LAY-100"),
    mutant("lay-gptq-order-ignored", "quantref.layers", "GPTQDense.__call__",
           "self.g_idx",
           "np.sort(self.g_idx)",
           "g_idx is ignored: groups are taken to be consecutive columns.", "lay", blames="LAY-120"),
    mutant("lay-gptq-not-turned", "quantref.layers", "GPTQDense.arranged",
           "weights.T.reshape(shape).transpose(np.argsort(order))",
           "weights.T.reshape(shape).reshape(self.kernel_shape)",
           "The axes of the kernel stay in the order of flattening.", "lay", blames="LAY-110"),
    mutant("lay-file-bias", "quantcheck.targets.reference.layers.files", "to_text",
           "encode(value)",
           "encode(None if item.name == 'bias' else value)",
           "The bias is not saved.", "lay", blames="LAY-130"),
    mutant("lay-file-config", "quantcheck.targets.reference.layers.files", "to_text",
           "value.get_config()",
           "(Int8QuantizationConfig() if isinstance(value, Int8QuantizationConfig) else value).get_config()",
           "An int8 layer saves the default config instead of its own.", "lay", blames="LAY-140"),
)  # fmt: skip
