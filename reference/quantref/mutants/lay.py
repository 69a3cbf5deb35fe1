"""Mutants of section LAY: layers and their files."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("lay-scale-multiplied", "layers", "return finish(sums / scales, self.bias",
     "return finish(sums * scales, self.bias",
     "Outputs are multiplied by the scales, which are multipliers.", "lay", blames="LAY-030"),
    mutant("lay-bias-first", "layers", "return finish(sums / scales, self.bias",
     "return finish((sums + (0 if self.bias is None else self.bias)) / scales, None",
     "The bias is added to the integer sums, and divided by the scales with them.", "lay", blames="LAY-050"),
    mutant("lay-activation-first", "layers", "    if bias is not None:\n        try:",
     ("    if activation == 'relu':\n        values = np.maximum(values, 0.0)\n"
      "        activation = None\n    if bias is not None:\n        try:"),
     "The activation comes before the bias.", "lay", blames="LAY-050"),
    mutant("lay-one-kernel-scale", "layers", "codes, scale = quantizer(w, axis=axes)  #",
     ("codes, scale = quantizer(w, axis=tuple(range(w.ndim)))\n"
      "    scale = scale + 0 * quantizer(w, axis=axes)[1]  #"),
     "One scale for the whole kernel, not one per output.", "lay", blames="LAY-020"),
    mutant("lay-kernel-rows", "layers", "codes, scale = quantizer(w, axis=axes)  #",
     ("codes, scale = quantizer(w, axis=-1)\n"
      "    scale = np.resize(scale, quantizer(w, axis=axes)[1].shape)  #"),
     "The kernel's scales are taken along its last axis, whatever the equation says.", "lay", blames="LAY-020"),
    mutant("lay-one-input-scale", "layers", "codes, scale = require_absmax(quantizer)(x, axis=axes)",
     ("codes, scale = quantizer(x, axis=tuple(range(x.ndim)))\n"
      "            scale = scale + 0 * quantizer(x, axis=axes)[1]"),
     "All tokens share one scale.", "lay", blames="LAY-020"),
    mutant("lay-last-axis", "layers", "codes, scale = require_absmax(quantizer)(x, axis=axes)",
     ("codes, scale = quantizer(x, axis=-1)\n"
      "            scale = np.max(scale, axis=axes, keepdims=True)"),
     "Activations are quantized along the last axis alone, though two are summed.", "lay", blames="LAY-020"),
    mutant("lay-narrow-sums", "layers", "codes.astype(np.int64), scale", "codes.astype(np.int16), scale",
     "Sums of products are carried in 16 bits.", "lay", blames="LAY-030"),
    mutant("lay-weight-only-ignored", "layers", "quantizer = self.config.activation_quantizer\n",
     "quantizer = self.config.activation_quantizer or AbsMaxQuantizer()\n",
     "Activations are quantized though the config has no quantizer for them.", "lay", blames="LAY-040"),
    mutant("lay-embedding-multiplied", "layers", "self.embeddings[t] / scale",
     "self.embeddings[t] * scale",
     "Rows are multiplied by their scale.", "lay", blames="LAY-060"),
    mutant("lay-tied-not-turned", "layers", "self.embeddings, self.embeddings_scale, TIED",
     "self.embeddings, self.embeddings_scale, DENSE",
     "The tied reverse does not transpose the embedding.", "lay", blames="LAY-070"),
    mutant("lay-always-tied", "layers", "if self.reverse_embeddings is None or", "if True or",
     "The reverse uses the forward rows though it has a kernel of its own.", "lay", blames="LAY-080"),
    mutant("lay-gptq-no-zero", "layers", "self.scale, self.zero_point, self.g_idx)",
     "self.scale, 0 * self.zero_point, self.g_idx)",
     "The zero-point of a packed kernel is forgotten.", "lay", blames="LAY-090"),
    mutant("lay-gptq-high-first", "layers", "unpack_codes(self.packed, self",
     ("unpack_codes((self.packed >> 4) | (self.packed << 4) if self.config.weight_bits == 4\n"
      "                            else self.packed, self"),
     "Nibbles are read in the wrong order.", "lay", blames="LAY-100"),
    mutant("lay-gptq-order-ignored", "layers", "self.scale, self.zero_point, self.g_idx)",
     "self.scale, self.zero_point, np.sort(self.g_idx))",
     "Groups are taken to be runs of columns, whatever g_idx says.", "lay", blames="LAY-120"),
    mutant("lay-gptq-not-turned", "layers", ".transpose(np.argsort(order))",
     ".reshape(self.kernel_shape)",
     "The axes of the kernel keep the order in which they were flattened.", "lay", blames="LAY-110"),
    mutant("lay-file-bias", "layer_files", "if is_config else encode(value)",
     "if is_config else encode(None if item.name == 'bias' else value)",
     "The bias is not saved.", "lay", blames="LAY-130"),
    mutant("lay-file-config", "layer_files", "= value.get_config() if is_config",
     ("= (Int8QuantizationConfig() if isinstance(value, Int8QuantizationConfig) else value)"
      ".get_config() if is_config"),
     "An int8 layer saves the default config, not its own.", "lay", blames="LAY-140"),
)  # fmt: skip
