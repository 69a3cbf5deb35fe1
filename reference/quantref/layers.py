"""Forward passes of quantized layers, without a framework (SPEC.md, section 9).

Dense is EinsumDense with the equation `DENSE`, and the reverse of an embedding is a Dense layer
whose kernel is the embedding, so there are three classes. Integer sums are exact; everything else
is computed in float64 and rounded once to float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.absmax import AbsMaxQuantizer
from quantref.affine import affine_dequantize, group_layout
from quantref.config import GPTQConfig, Int8QuantizationConfig, Quantizer
from quantref.equations import parse_equation, require_sizes
from quantref.inputs import (
    Array,
    require_activation,
    require_bias,
    require_broadcast_bias,
    require_contracted_axes,
    require_float,
    require_instance,
    require_packed,
    require_rank,
    require_shape,
    require_tokens,
)
from quantref.packing import unpack_codes

DENSE = "...x,xy->...y"
TIED = "...x,yx->...y"


def absmax_of(quantizer: Quantizer | None) -> AbsMaxQuantizer:
    """Return a quantizer that gives codes and scales; for None, the default one.

    Examples
    --------
    >>> absmax_of(None).value_range
    (-127, 127)
    """
    if quantizer is None:
        return AbsMaxQuantizer()
    require_instance(quantizer, AbsMaxQuantizer, "quantizer", "LAY-150")  # [LAY-150]
    return quantizer  # type: ignore[return-value]


def quantize_weights(
    weights: ArrayLike, axes: tuple[int, ...], config: Int8QuantizationConfig
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 codes of weights (...), and their float32 scales, without the contracted axes.

    `axes`: the contracted axes of the weights; each scale is that of a slice along them.

    Examples
    --------
    >>> kernel = np.float32([[1.0, -4.0], [-2.0, 1.0]])
    >>> quantize_weights(kernel, (0,), Int8QuantizationConfig())
    (array([[  63, -127],
           [-127,   32]], dtype=int8), array([63.499996, 31.75    ], dtype=float32))
    """
    require_instance(config, Int8QuantizationConfig, "config", "LAY-150")
    w = require_float(weights, "weights", "LAY-150").astype(np.float32)
    quantizer = absmax_of(config.weight_quantizer)
    require_contracted_axes(quantizer.axis, w.ndim, axes)

    # WEIGHTS
    codes, scale = quantizer(w, axis=axes)  # [LAY-010]
    return codes.astype(np.int8), scale.reshape(np.delete(w.shape, axes)).astype(np.float32)


def finish(values: Array, bias: Array | None, activation: str | None) -> NDArray[np.float32]:
    """Return f32(activation(values + bias)).

    Examples
    --------
    >>> finish(np.float64([[1.0, -3.0]]), np.float32([0.5, 0.5]), "relu")
    array([[1.5, 0. ]], dtype=float32)
    """
    # FINISH
    if bias is not None:
        require_broadcast_bias(bias, values.shape)
        values = values + bias.astype(np.float64)
    if activation == "relu":
        values = np.maximum(values, 0.0)  # [LAY-050]: after the bias
    return values.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Int8Dense:
    """Dense or EinsumDense with an int8 kernel.

    Examples
    --------
    >>> layer = Int8Dense.quantize(np.float32([[1.0, -4.0], [-2.0, 1.0]]))
    >>> layer(np.float32([[0.5, 1.0]]))
    array([[-1.5078433, -0.9763781]], dtype=float32)
    """

    equation: str
    kernel: NDArray[np.int8]  # K, of the shape that the equation says
    kernel_scale: NDArray[np.float32]  # s_K, the kept axes of the kernel
    bias: NDArray[np.float32] | None = None  # broadcasts to the outputs
    activation: str | None = None  # None or "relu"
    config: Int8QuantizationConfig = field(default_factory=Int8QuantizationConfig)

    @classmethod
    def quantize(
        cls,
        kernel: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        equation: str = DENSE,
        activation: str | None = None,
        config: Int8QuantizationConfig | None = None,
    ) -> Int8Dense:
        """Return the layer of a float kernel; its scales are those of the contracted axes."""
        config = Int8QuantizationConfig() if config is None else config
        w, letters = np.asarray(kernel), parse_equation(equation).kernel
        require_rank(w.shape, len(letters), "a kernel", repr(equation))
        axes = parse_equation(equation).axes(letters)  # [LAY-160] [LAY-170]
        codes, scale = quantize_weights(w, axes, config)
        bias, activation = require_bias(bias), require_activation(activation)
        return cls(equation, codes, scale, bias, activation, config)

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the outputs (float32) for float inputs."""
        # BAD INPUT  [LAY-150]
        x = require_float(inputs, "x", "LAY-150")
        equation = parse_equation(self.equation, x.ndim)
        require_sizes(equation, x.shape, self.kernel.shape)
        axes = equation.axes(equation.inputs)  # [LAY-160]

        kept = np.delete(x.shape, axes)
        quantizer = self.config.activation_quantizer
        if quantizer is None:
            # WEIGHT-ONLY
            factors, scale = x.astype(np.float64), np.ones(kept)  # [LAY-040]
        else:
            # INT8
            codes, scale = absmax_of(quantizer)(x, axis=axes)
            factors, scale = codes.astype(np.int64), scale.reshape(kept)  # [LAY-030]
        sums = np.einsum(equation.text, factors, self.kernel.astype(factors.dtype))
        scales = np.einsum(equation.scales, scale, self.kernel_scale, dtype=np.float64)
        return finish(sums / scales, self.bias, self.activation)


@dataclass(frozen=True, eq=False)
class GPTQDense:
    """Dense or EinsumDense with a packed GPTQ kernel.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=4, group_size=-1)
    >>> layer = GPTQDense(DENSE, (2, 1), np.uint8([[9, 6]]), np.float32([[0.5]]), np.uint8([[8]]),
    ...                   np.int32([0, 0]), config)
    >>> layer(np.float32([[4.0, 1.0]]))
    array([[1.]], dtype=float32)
    """

    equation: str
    kernel_shape: tuple[int, ...]  # contracted axes make n_in, the kept ones n_out
    packed: NDArray[np.uint8]  # (⌈n_out / codes per byte⌉, n_in)
    scale: NDArray[np.float32]  # (n_out, n_groups)
    zero_point: NDArray[np.uint8]  # (n_out, n_groups)
    g_idx: NDArray[np.int32]  # (n_in,)
    config: GPTQConfig  # its bits and group size count
    bias: NDArray[np.float32] | None = None
    activation: str | None = None

    def arranged(self, weights: Array) -> Array:
        """Return weights (n_out, n_in) in the shape of the kernel."""
        equation = parse_equation(self.equation)
        require_rank(self.kernel_shape, len(equation.kernel), "kernel_shape", repr(self.equation))
        order = equation.kernel_order  # contracted axes first, each kind in its order
        shape = [self.kernel_shape[k] for k in order]
        return weights.T.reshape(shape).transpose(np.argsort(order))  # [LAY-110]

    def codes(self) -> NDArray[np.integer]:
        """Return the codes (n_out, n_in).  [LAY-180] [LAY-190]"""
        require_instance(self.config, GPTQConfig, "config", "LAY-150")
        equation = parse_equation(self.equation)
        n_in = math.prod(self.kernel_shape[k] for k in equation.axes(equation.kernel))
        n_out = math.prod(self.kernel_shape) // max(n_in, 1)
        require_packed(self.packed, n_in)
        require_shape(self.scale, (n_out, len(group_layout(n_in, self.config.group_size))), "scale")
        return unpack_codes(self.packed, self.config.weight_bits, n_out, axis=0)

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the outputs (float32) for float inputs."""
        # BAD INPUT  [LAY-150]
        x = require_float(inputs, "x", "LAY-150")
        require_activation(self.activation)
        equation = parse_equation(self.equation, x.ndim)
        require_sizes(equation, x.shape, self.kernel_shape)

        # GPTQ
        weights = affine_dequantize(self.codes(), self.scale, self.zero_point, self.g_idx)
        kernel = self.arranged(weights.astype(np.float64))  # [LAY-090]
        sums = np.einsum(equation.text, x.astype(np.float64), kernel)
        return finish(sums, require_bias(self.bias), self.activation)


@dataclass(frozen=True, eq=False)
class Int8Embedding:
    """Embedding or ReversibleEmbedding with int8 rows.

    Examples
    --------
    >>> layer = Int8Embedding.quantize(np.float32([[1.0, -2.0], [8.0, 4.0]]))
    >>> layer(np.int32([1]))
    array([[8.       , 4.0314...]], dtype=float32)
    >>> layer.reverse(np.float32([[1.0, 0.0]]))
    array([[0.99212617, 8.000001  ]], dtype=float32)
    """

    embeddings: NDArray[np.int8]  # (n_tokens, n_features)
    embeddings_scale: NDArray[np.float32]  # (n_tokens,)
    reverse_embeddings: NDArray[np.int8] | None = None  # (n_features, n_tokens); None: tied
    reverse_embeddings_scale: NDArray[np.float32] | None = None  # (n_tokens,)
    config: Int8QuantizationConfig = field(default_factory=Int8QuantizationConfig)

    @classmethod
    def quantize(
        cls,
        embeddings: ArrayLike,
        reverse_embeddings: ArrayLike | None = None,
        *,
        config: Int8QuantizationConfig | None = None,
    ) -> Int8Embedding:
        """Return the layer of float embeddings."""
        config = Int8QuantizationConfig() if config is None else config
        w = np.asarray(embeddings)
        require_rank(w.shape, 2, "embeddings", "tokens and features")
        codes, scale = quantize_weights(w, (1,), config)  # [LAY-060]
        if reverse_embeddings is None:
            return cls(codes, scale, config=config)
        back = np.asarray(reverse_embeddings)
        require_shape(back, w.shape[::-1], "reverse embeddings")
        back_codes, back_scale = quantize_weights(back, (0,), config)  # [LAY-080]
        return cls(codes, scale, back_codes, back_scale, config)

    def __call__(self, tokens: ArrayLike) -> NDArray[np.float32]:
        """Return the rows of tokens, (..., n_features)."""
        t = require_tokens(tokens, len(self.embeddings))

        # EMBEDDING
        scale = self.embeddings_scale[t].astype(np.float64)[..., None]  # (..., 1)
        return np.asarray(self.embeddings[t] / scale, dtype=np.float32)  # [LAY-060]

    def reverse(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the logits of all tokens, (..., n_tokens)."""
        back, scale, config = self.reverse_embeddings, self.reverse_embeddings_scale, self.config
        if back is None or scale is None:
            tied = Int8Dense(TIED, self.embeddings, self.embeddings_scale, config=config)
            return tied(inputs)  # [LAY-070]
        return Int8Dense(DENSE, back, scale, config=config)(inputs)  # [LAY-080]
