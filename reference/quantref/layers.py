"""Forward passes of quantized layers, without a framework (SPEC.md, section 9).

Dense is EinsumDense with the equation `DENSE`, and the reverse of an embedding is a Dense layer
whose kernel is the embedding, so there are three classes. Integer sums are exact; the rest is
computed in float64 and rounded once to float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.absmax import AbsMaxQuantizer
from quantref.affine import affine_dequantize, group_layout
from quantref.config import GPTQConfig, Int8QuantizationConfig, Quantizer
from quantref.equations import parse_equation, require_sizes
from quantref.errors import AxisError, CodeRangeError, ConfigError, DTypeError, ShapeError
from quantref.inputs import Array, require_config, require_float, resolve_axis
from quantref.packing import unpack_codes

DENSE = "...x,xy->...y"
TIED = "...x,yx->...y"
ACTIVATIONS = (None, "relu")


def require_activation(activation: Any) -> str | None:
    """Return None or "relu", or raise.  [LAY-150]"""
    if activation not in ACTIVATIONS:
        raise ConfigError(f"activation in {ACTIVATIONS}", f"{activation!r}", "LAY-150")
    return activation  # type: ignore[no-any-return]


def require_bias(bias: ArrayLike | None) -> NDArray[np.float32] | None:
    """Return a float32 bias, or None.  [LAY-150]"""
    return None if bias is None else require_float(bias, "bias", "LAY-150").astype(np.float32)


def require_absmax(quantizer: Quantizer | None) -> AbsMaxQuantizer:
    """Return a quantizer that gives codes and scales; None: the default one.  [LAY-150]

    Examples
    --------
    >>> require_absmax(None).value_range
    (-127, 127)
    """
    if quantizer is None:
        return AbsMaxQuantizer()
    if not isinstance(quantizer, AbsMaxQuantizer):
        raise ConfigError("an AbsMaxQuantizer", f"{quantizer!r}", "LAY-150")
    return quantizer


def quantize_weights(
    weights: ArrayLike, axes: tuple[int, ...], config: Int8QuantizationConfig
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 codes of weights, and their scales without the contracted axes.  [LAY-010]

    Parameters
    ----------
    weights : (...) float array
    axes : tuple of int
        Contracted axes: each scale is that of a slice along them.
    config : Int8QuantizationConfig
        Its weight quantizer, AbsMax by default. An axis that it stores must be `axes`.

    Returns
    -------
    codes : (...) int8 array
    scale : float32 array of the kept axes

    Examples
    --------
    >>> kernel = np.float32([[1.0, -4.0], [-2.0, 1.0]])
    >>> quantize_weights(kernel, (0,), Int8QuantizationConfig())
    (array([[  63, -127],
           [-127,   32]], dtype=int8), array([63.499996, 31.75    ], dtype=float32))
    """
    require_config(config, Int8QuantizationConfig)
    w = require_float(weights, "weights", "LAY-150").astype(np.float32)
    quantizer = require_absmax(config.weight_quantizer)
    if quantizer.axis is not None and resolve_axis(quantizer.axis, w.ndim, "LAY-150") != axes:
        raise AxisError(f"a weight quantizer of axis {axes}", f"{quantizer.axis}", "LAY-150")
    codes, scale = quantizer(w, axis=axes)  # [LAY-010]
    return codes.astype(np.int8), scale.reshape(np.delete(w.shape, axes)).astype(np.float32)


def finish(values: Array, bias: Array | None, activation: str | None) -> NDArray[np.float32]:
    """Add the bias, apply the activation, round once.  [LAY-050]

    Examples
    --------
    >>> finish(np.float64([[1.0, -3.0]]), np.float32([0.5, 0.5]), "relu")
    array([[1.5, 0. ]], dtype=float32)
    """
    if bias is not None:
        try:
            moved = values + bias.astype(np.float64)
        except ValueError:
            moved = values[..., None]
        if moved.shape != values.shape:
            expected = f"a bias that broadcasts to {values.shape}"
            raise ShapeError(expected, f"{bias.shape}", "LAY-150")
        values = moved
    if activation == "relu":
        values = np.maximum(values, 0.0)  # [LAY-050]: after the bias
    return values.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Int8Dense:
    """Dense or EinsumDense with an int8 kernel.

    Attributes
    ----------
    equation : str
        `DENSE` is the equation of Dense.
    kernel : int8 array of the shape that the equation says
    kernel_scale : float32 array, the kept axes of the kernel
        A multiplier: kernel ≈ codes / scale.
    bias : float32 array that broadcasts to the outputs, or None
    activation : {None, "relu"}
    config : Int8QuantizationConfig
        Without an activation quantizer, activations stay floats (weight-only).

    Examples
    --------
    >>> layer = Int8Dense.quantize(np.float32([[1.0, -4.0], [-2.0, 1.0]]))
    >>> layer(np.float32([[0.5, 1.0]]))
    array([[-1.5078433, -0.9763781]], dtype=float32)
    """

    equation: str
    kernel: NDArray[np.int8]
    kernel_scale: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None
    activation: str | None = None
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
        """Return the layer of a float kernel.  [LAY-010] [LAY-020]"""
        config = Int8QuantizationConfig() if config is None else config
        w = np.asarray(kernel)
        parsed = parse_equation(equation)
        if w.ndim != len(parsed.kernel):
            expected = f"a kernel of rank {len(parsed.kernel)} for {equation!r}"
            raise ShapeError(expected, f"{w.shape}", "LAY-150")
        codes, scale = quantize_weights(w, parsed.axes(parsed.kernel), config)
        return cls(
            equation, codes, scale, require_bias(bias), require_activation(activation), config
        )

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the outputs for float inputs.

        Raises
        ------
        DTypeError, NonFiniteError, ShapeError, EquationError, EmptyArrayError
        """
        # BAD INPUT  [LAY-150]
        x = require_float(inputs, "x", "LAY-150")
        equation = parse_equation(self.equation, x.ndim)
        require_sizes(equation, x.shape, self.kernel.shape)
        axes = equation.axes(equation.inputs)  # [LAY-020]

        # SUM
        kept = np.delete(x.shape, axes)
        quantizer = self.config.activation_quantizer
        if quantizer is None:
            factors, scale = x.astype(np.float64), np.ones(kept)  # [LAY-040]
        else:
            codes, scale = require_absmax(quantizer)(x, axis=axes)
            factors, scale = codes.astype(np.int64), scale.reshape(kept)  # [LAY-030]
        sums = np.einsum(equation.text, factors, self.kernel.astype(factors.dtype))

        # RESCALE
        scales = np.einsum(equation.scales, scale, self.kernel_scale, dtype=np.float64)
        return finish(sums / scales, self.bias, self.activation)


@dataclass(frozen=True, eq=False)
class GPTQDense:
    """Dense or EinsumDense with a packed GPTQ kernel.

    Attributes
    ----------
    equation : str
    kernel_shape : tuple of int
        Of the float kernel; contracted axes make n_in, the others n_out.
    packed : (ceil(n_out / codes per byte), n_in) uint8 array
    scale, zero_point : (n_out, n_groups) float32, uint8 arrays
    g_idx : (n_in,) integer array
    config : GPTQConfig
        Bits of a code, columns of a group.
    bias, activation : as in `Int8Dense`

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=4, group_size=-1)
    >>> layer = GPTQDense(DENSE, (2, 1), np.uint8([[9, 6]]), np.float32([[0.5]]), np.uint8([[8]]),
    ...                   np.int32([0, 0]), config)
    >>> layer(np.float32([[4.0, 1.0]]))
    array([[1.]], dtype=float32)
    """

    equation: str
    kernel_shape: tuple[int, ...]
    packed: NDArray[np.uint8]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.uint8]
    g_idx: NDArray[np.int32]
    config: GPTQConfig
    bias: NDArray[np.float32] | None = None
    activation: str | None = None

    def order(self) -> tuple[int, ...]:
        """Return the axes of the kernel: contracted ones first, each kind in its order."""
        equation = parse_equation(self.equation)
        if len(self.kernel_shape) != len(equation.kernel):
            expected = f"kernel_shape of rank {len(equation.kernel)} for {self.equation!r}"
            raise ShapeError(expected, f"{self.kernel_shape}", "LAY-150")
        return equation.kernel_order

    def arranged(self, weights: Array) -> Array:
        """Return weights (n_out, n_in) in the shape of the kernel.  [LAY-110]"""
        order = self.order()
        shape = [self.kernel_shape[k] for k in order]
        return weights.T.reshape(shape).transpose(np.argsort(order))

    def codes(self) -> NDArray[np.integer]:
        """Return the codes (n_out, n_in).  [LAY-100]"""
        require_config(self.config, GPTQConfig)
        equation = parse_equation(self.equation)
        n_in = math.prod(self.kernel_shape[k] for k in equation.axes(equation.kernel))
        n_out = math.prod(self.kernel_shape) // max(n_in, 1)
        if np.ndim(self.packed) != 2 or np.shape(self.packed)[1] != n_in:
            expected = f"a packed kernel of {n_in} columns"
            raise ShapeError(expected, f"{np.shape(self.packed)}", "LAY-150")
        if (dtype := np.asarray(self.packed).dtype) != np.uint8:
            raise DTypeError("a packed kernel of dtype uint8", dtype.name, "LAY-150")
        groups = len(group_layout(n_in, self.config.group_size))
        if np.shape(self.scale) != (n_out, groups):
            expected = f"a scale of shape ({n_out}, {groups})"
            raise ShapeError(expected, f"{np.shape(self.scale)}", "LAY-150")
        return unpack_codes(self.packed, self.config.weight_bits, n_out, axis=0)  # [LAY-100]

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the outputs for float inputs.  [LAY-090]"""
        # BAD INPUT  [LAY-150]
        x = require_float(inputs, "x", "LAY-150")
        require_activation(self.activation)
        equation = parse_equation(self.equation, x.ndim)
        require_sizes(equation, x.shape, self.kernel_shape)

        # SUM
        weights = affine_dequantize(self.codes(), self.scale, self.zero_point, self.g_idx)
        kernel = self.arranged(weights.astype(np.float64))  # [LAY-110]
        sums = np.einsum(equation.text, x.astype(np.float64), kernel)
        return finish(sums, require_bias(self.bias), self.activation)


@dataclass(frozen=True, eq=False)
class Int8Embedding:
    """Embedding or ReversibleEmbedding with int8 rows.

    Attributes
    ----------
    embeddings : (n_tokens, n_features) int8 array
    embeddings_scale : (n_tokens,) float32 array
    reverse_embeddings : (n_features, n_tokens) int8 array, or None
        None: the reverse uses the rows of `embeddings` (tied).
    reverse_embeddings_scale : (n_tokens,) float32 array, or None
    config : Int8QuantizationConfig
        Its activation quantizer serves the reverse.

    Examples
    --------
    >>> layer = Int8Embedding.quantize(np.float32([[1.0, -2.0], [8.0, 4.0]]))
    >>> layer(np.int32([1]))
    array([[8.       , 4.0314...]], dtype=float32)
    >>> layer.reverse(np.float32([[1.0, 0.0]]))
    array([[0.99212617, 8.000001  ]], dtype=float32)
    """

    embeddings: NDArray[np.int8]
    embeddings_scale: NDArray[np.float32]
    reverse_embeddings: NDArray[np.int8] | None = None
    reverse_embeddings_scale: NDArray[np.float32] | None = None
    config: Int8QuantizationConfig = field(default_factory=Int8QuantizationConfig)

    @classmethod
    def quantize(
        cls,
        embeddings: ArrayLike,
        reverse_embeddings: ArrayLike | None = None,
        *,
        config: Int8QuantizationConfig | None = None,
    ) -> Int8Embedding:
        """Return the layer of float embeddings.  [LAY-060]"""
        config = Int8QuantizationConfig() if config is None else config
        w = np.asarray(embeddings)
        if w.ndim != 2:
            raise ShapeError("embeddings of shape (n_tokens, n_features)", f"{w.shape}", "LAY-150")
        codes, scale = quantize_weights(w, (1,), config)  # [LAY-060]
        if reverse_embeddings is None:
            return cls(codes, scale, config=config)
        back = np.asarray(reverse_embeddings)
        if back.shape != w.shape[::-1]:
            expected = f"reverse embeddings of shape {w.shape[::-1]}"
            raise ShapeError(expected, f"{back.shape}", "LAY-150")
        back_codes, back_scale = quantize_weights(back, (0,), config)  # [LAY-080]
        return cls(codes, scale, back_codes, back_scale, config)

    def __call__(self, tokens: ArrayLike) -> NDArray[np.float32]:
        """Return the rows of tokens, (..., n_features).  [LAY-060]"""
        t = np.asarray(tokens)
        if t.dtype.kind not in "iu":
            raise DTypeError("integer tokens", f"tokens with dtype={t.dtype.name}", "LAY-150")
        if t.size and not 0 <= int(t.min()) <= int(t.max()) < len(self.embeddings):
            got = f"tokens in [{int(t.min())}, {int(t.max())}]"
            raise CodeRangeError(f"tokens in [0, {len(self.embeddings)})", got, "LAY-150")
        scale = self.embeddings_scale[t].astype(np.float64)[..., None]  # (..., 1)
        return np.asarray(self.embeddings[t] / scale, dtype=np.float32)  # [LAY-060]

    def reverse(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Return the logits of all tokens, (..., n_tokens).  [LAY-070] [LAY-080]"""
        if self.reverse_embeddings is None or self.reverse_embeddings_scale is None:
            kernel, scale, equation = self.embeddings, self.embeddings_scale, TIED  # [LAY-070]
        else:
            kernel, scale, equation = (
                self.reverse_embeddings, self.reverse_embeddings_scale, DENSE,
            )  # [LAY-080]  # fmt: skip
        return Int8Dense(equation, kernel, scale, config=self.config)(inputs)


Layer = Int8Dense | GPTQDense | Int8Embedding
