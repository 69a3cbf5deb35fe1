"""Kernels as matrices: equations against einsum itself."""

from __future__ import annotations

import numpy as np
import pytest

from quantref.equations import parse_equation
from quantref.errors import EquationError, ShapeError
from quantref.geometry import Geometry
from quantref.layers import DENSE, GPTQDense

# Every equation that Keras's documentation shows, those of its attention layers, and of KerasHub's.
EQUATIONS = [
    (DENSE, (5, 6), (3, 5)),
    (DENSE, (5, 6), (3, 4, 2, 5)),
    ("ab,bc->ac", (5, 6), (3, 5)),
    ("abc,cd->abd", (5, 6), (3, 4, 5)),
    ("...x,xy->...y", (5, 6), (2, 3, 5)),
    ("abc,cde->abde", (4, 2, 3), (2, 6, 4)),
    ("abcd,cde->abe", (2, 3, 5), (4, 6, 2, 3)),
    ("btd,ndh->btnh", (2, 5, 3), (4, 6, 5)),
    ("btnh,nhd->btd", (2, 3, 5), (4, 6, 2, 3)),
    ("bqm,muh->bquh", (5, 2, 3), (4, 6, 5)),
    ("bsd,kdh->bskh", (2, 5, 3), (4, 6, 5)),
    ("ncab,bad->ncd", (3, 2, 4), (4, 6, 2, 3)),
    ("abc...,cd->abd...", (4, 5), (2, 3, 4)),
    ("abcd,ecd->abe", (5, 2, 3), (4, 6, 2, 3)),  # the order of axes is no swap: (1, 2, 0)
]


@pytest.mark.parametrize(("text", "kernel_shape", "input_shape"), EQUATIONS)
def test_tokens_times_the_matrix_are_what_the_equation_says(
    text: str, kernel_shape: tuple[int, ...], input_shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.integers(-5, 6, kernel_shape).astype(np.float64)
    x = rng.integers(-5, 6, input_shape).astype(np.float64)
    geometry = Geometry(text, kernel_shape)
    matrix = geometry.matrix(kernel)
    assert matrix.shape == (geometry.n_out, geometry.n_in)
    np.testing.assert_array_equal(geometry.kernel(matrix), kernel)
    tokens = geometry.tokens(x)
    assert tokens.shape[-1] == geometry.n_in
    assert tokens.shape[0] == input_shape[0]
    equation = parse_equation(text, x.ndim)
    kept_inputs, kept_kernel = equation.kept(equation.inputs), equation.kept(equation.kernel)
    kept_sizes = [n for n, c in zip(kernel_shape, equation.kernel, strict=True) if c in kept_kernel]
    products = (tokens @ matrix.T).reshape(*tokens.shape[:-1], *kept_sizes)
    laid = np.einsum(f"{kept_inputs}{kept_kernel}->{equation.outputs}", products)
    np.testing.assert_array_equal(laid, np.einsum(text, x, kernel))


@pytest.mark.parametrize(("text", "kernel_shape", "_"), EQUATIONS)
def test_packed_layers_have_the_same_geometry(
    text: str, kernel_shape: tuple[int, ...], _: tuple[int, ...]
) -> None:
    geometry = Geometry(text, kernel_shape)
    nothing = np.zeros(0)
    layer = GPTQDense(text, kernel_shape, nothing, nothing, nothing, nothing, None)  # type: ignore[arg-type]
    count = geometry.n_out * geometry.n_in
    values = np.arange(count, dtype=np.float64).reshape(geometry.n_out, geometry.n_in)
    np.testing.assert_array_equal(layer.arranged(values), geometry.kernel(values))


def test_what_is_no_single_matrix_is_refused() -> None:
    with pytest.raises(EquationError, match=r"axes \['e'\].*LAY-110"):
        Geometry("ebd,edf->ebf", (2, 3, 4))  # a kernel per expert
    with pytest.raises(EquationError, match="LAY-150"):
        Geometry("ab,cd->abcd", (2, 3))
    with pytest.raises(ShapeError, match="rank 2"):
        Geometry(DENSE, (2, 3, 4))
    geometry = Geometry(DENSE, (2, 3))
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        geometry.matrix(np.zeros((3, 2)))
    with pytest.raises(ShapeError, match=r"\(3, 2\)"):
        geometry.kernel(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"kernel \(2, 3\), got \(4, 3\)"):
        geometry.tokens(np.zeros((4, 3)))
