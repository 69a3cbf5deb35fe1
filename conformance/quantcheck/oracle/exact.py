"""The algorithms of SPEC.md in rational arithmetic: the oracle of the golden vectors.

Every finite float is a dyadic rational, and GPTQ in its LDLᵀ form needs no square root. So every
rounding is decided exactly, on any machine. This module uses neither NumPy's arithmetic nor a BLAS.
Arrays are nested lists of `fractions.Fraction`. Only the default profile is implemented.

Each code has a margin: the distance of w / s + z to the nearest point where the clipped code
changes, in codes. An exact tie has margin 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from operator import mul
from typing import Any

from quantref.errors import NotPositiveDefiniteError

Row = list[Fraction]
Matrix = list[Row]
HALF = Fraction(1, 2)
SMALLEST_SCALE = Fraction(1, 2**126)


def fractions_of(nested: Any) -> Any:
    """Turn nested lists of floats into nested lists of fractions.

    Examples
    --------
    >>> fractions_of([[0.5, 2.0]])
    [[Fraction(1, 2), Fraction(2, 1)]]
    """
    if isinstance(nested, list):
        return [fractions_of(x) for x in nested]
    return Fraction(nested)


def nearest_float(x: Fraction, *, digits: int = 24, smallest: int = -149) -> Fraction:
    """Round to the nearest binary float, half to even, gradual underflow.

    Defaults are float32; float64 is digits=53, smallest=-1074.

    Examples
    --------
    >>> nearest_float(Fraction(1, 3)) == Fraction(11184811, 33554432)
    True
    """
    n, d = x.numerator, x.denominator
    if n == 0:
        return x
    exponent = abs(n).bit_length() - d.bit_length()
    if (abs(n) << max(-exponent, 0)) < (d << max(exponent, 0)):
        exponent -= 1  # now 2^exponent <= |x| < 2^(exponent + 1)
    quantum = max(exponent - digits + 1, smallest)  # its power of two
    steps = _rounded(n << max(-quantum, 0), d << max(quantum, 0))
    return Fraction(steps << max(quantum, 0), 1 << max(-quantum, 0))


def _rounded(n: int, d: int) -> int:
    """Return n / d for d > 0, rounded to the nearest integer, half to even."""
    whole, rest = divmod(n, d)
    return whole + (2 * rest > d or (2 * rest == d and whole % 2 == 1))


def code_and_margin(t: Fraction, z: int, lo: int, hi: int) -> tuple[int, Fraction]:
    """Return clip(rint(t) + z, lo, hi) and the distance of t + z to the nearest change of code.

    Examples
    --------
    >>> code_and_margin(Fraction(5, 2), 0, 0, 15)
    (2, Fraction(0, 1))
    >>> code_and_margin(Fraction(40), 0, 0, 15)
    (15, Fraction(51, 2))
    """
    n, d = t.numerator, t.denominator
    code = min(max(_rounded(n, d) + z, lo), hi)
    below = min(max(n // d + z, lo), hi - 1)
    return code, Fraction(abs(2 * n + (2 * (z - below) - 1) * d), 2 * d)


def abs_max(
    x: Row, lo: int, hi: int, epsilon: Fraction, *, double: bool = False
) -> tuple[Fraction, list[int], Row]:
    """Return scale, codes and margins of one slice.

    Examples
    --------
    >>> abs_max(fractions_of([-63.5, 0.25]), -127, 127, Fraction(1, 10**7))
    (Fraction(2, 1), [-127, 0], [Fraction(1, 2), Fraction(0, 1)])
    """
    exact = hi / (max(abs(v) for v in x) + epsilon)
    scale = nearest_float(exact, digits=53, smallest=-1074) if double else nearest_float(exact)
    pairs = [code_and_margin(v * scale, 0, lo, hi) for v in x]
    return scale, [code for code, _ in pairs], [margin for _, margin in pairs]


def affine_range(
    lo: Fraction, hi: Fraction, *, bits: int, symmetric: bool
) -> tuple[Fraction, int, Fraction]:
    """Return scale, zero-point and the zero-point's margin for the range of some weights.

    Examples
    --------
    >>> affine_range(Fraction(-1), Fraction(2), bits=2, symmetric=False)
    (Fraction(1, 1), 1, Fraction(1, 2))
    """
    maxq = 2**bits - 1
    lo, hi = min(lo, Fraction(0)), max(hi, Fraction(0))
    if symmetric:
        hi = max(-lo, hi)
        lo = -hi
    if lo == hi == 0:
        lo, hi = Fraction(-1), Fraction(1)
    scale = max(nearest_float((hi - lo) / maxq), SMALLEST_SCALE)
    if symmetric:
        return scale, 2 ** (bits - 1), HALF
    zero_point, margin = code_and_margin(-lo / scale, 0, 0, maxq)
    return scale, zero_point, margin


def grouped_range(
    least: Fraction, most: Fraction, lo: int, hi: int, epsilon: Fraction
) -> tuple[Fraction, int, Fraction]:
    """Return scale, zero-point and the zero-point's margin of a group of section 13.

    Examples
    --------
    >>> grouped_range(Fraction(-1), Fraction(1, 2), -2, 1, Fraction(0))
    (Fraction(1, 2), 0, Fraction(1, 2))
    """
    least, most = min(least, Fraction(0)), max(most, Fraction(0))
    scale = nearest_float((most - least + epsilon) / (hi - lo))
    zero_point, margin = code_and_margin(-least / scale, lo, lo, hi)
    return scale, zero_point, margin


@dataclass(frozen=True)
class ExactFactor:
    """H = M D Mᵀ with M unit upper triangular, D diagonal; M_kj = numerators[k][j] / minors[j].

    `minors[j]` is the determinant of the scaled matrix's trailing block from column j on.
    """

    numerators: list[list[int]]
    minors: list[int]
    pivots: Row

    def unit(self, k: int, j: int) -> Fraction:
        """Return M_kj."""
        return Fraction(self.numerators[k][j], self.minors[j])

    @cached_property
    def floats(self) -> list[list[float]]:
        """M, each element rounded once to float64."""
        n = len(self.minors)
        return [
            [0.0] * k + [1.0] + [self.numerators[k][j] / self.minors[j] for j in range(k + 1, n)]
            for k in range(n)
        ]


def ldl(hessian: Matrix) -> ExactFactor:
    """Factor without fractions (Bareiss), from the last column to the first.

    Examples
    --------
    >>> factor = ldl(fractions_of([[5.0, 2.0], [2.0, 4.0]]))
    >>> factor.unit(0, 1), factor.pivots
    (Fraction(1, 2), [Fraction(4, 1), Fraction(4, 1)])
    """
    return _ldl(tuple(map(tuple, hessian)))


@lru_cache(maxsize=8)  # consecutive problems often share a Hessian
def _ldl(hessian: tuple[tuple[Fraction, ...], ...]) -> ExactFactor:
    n = len(hessian)
    common = math.lcm(*(h.denominator for row in hessian for h in row))
    A = [[int(h * common) for h in row] for row in hessian]
    minors, pivots = [1] * (n + 1), [Fraction(0)] * n
    for k in reversed(range(n)):
        if (n - k) % 2 == 0:
            _eliminate(A, k, minors[k + 2])
        minors[k] = A[k][k]
        pivots[k] = Fraction(minors[k], minors[k + 1] * common)
        if pivots[k] <= 0:
            got = f"pivot {float(pivots[k]):.6g} at column {k}"
            raise NotPositiveDefiniteError("a positive definite hessian", got, "HES-080")
    return ExactFactor(A, minors[:n], pivots)


def _eliminate(A: list[list[int]], k: int, previous: int) -> None:
    """Eliminate column k + 1, and then column k from those before it, in one step of Bareiss.

    Two columns at once take three products and one division for each element, instead of four and
    two. `previous` is the minor of the columns behind; it divides every element.
    """
    first, second = ([A[j][c] for j in range(k + 1)] for c in (k, k + 1))
    corner, beside, pivot = first[k], second[k], A[k + 1][k + 1]
    column = [(pivot * a - beside * b) // previous for a, b in zip(first, second, strict=True)]
    other = [(corner * b - beside * a) // previous for a, b in zip(first, second, strict=True)]
    for i in range(k):
        a, b, minor = first[i], second[i], column[k]
        A[i][i:k] = [
            (x * minor - a * c - b * d) // previous
            for x, c, d in zip(A[i][i:k], column[i:k], other[i:k], strict=True)
        ]
    for i, value in enumerate(column):
        A[i][k] = value


def symmetric(hessian: Matrix) -> Matrix:
    """Return (H + Hᵀ) / 2.

    Examples
    --------
    >>> symmetric(fractions_of([[1.0, 2.0], [0.0, 3.0]]))[0]
    [Fraction(1, 1), Fraction(1, 1)]
    """
    columns = zip(*hessian, strict=True)
    return [
        [a if a == b else (a + b) / 2 for a, b in zip(row, column, strict=True)]
        for row, column in zip(hessian, columns, strict=True)
    ]


def prepare(
    hessian: Matrix, damping: Fraction, activation_order: bool
) -> tuple[Matrix, list[bool], list[int]]:
    """Return the damped Hessian (original order), dead columns, and the processing order.

    Examples
    --------
    >>> prepare(fractions_of([[0.0, 0.0], [0.0, 3.0]]), HALF, True)[1:]
    ([True, False], [1, 0])
    """
    n = len(hessian)
    damped = symmetric(hessian)
    dead = [hessian[j][j] == 0 for j in range(n)]
    diagonal = [Fraction(1) if dead[j] else hessian[j][j] for j in range(n)]
    added = damping * sum(diagonal) / n
    for j in range(n):
        damped[j][j] = diagonal[j] + added
    order = list(range(n))
    if activation_order:
        order.sort(key=lambda j: (-diagonal[j], j))
    return damped, dead, order


@dataclass(frozen=True)
class ExactGPTQ:
    """The exact solution of one GPTQ problem; columns are in processing order.

    `codes`, `margins`, `residuals` (w' − ŵ), `targets` (w') and `weights` are (n_out, n_in);
    `scale`, `zero_point`, `zero_margin`, `low` and `high` (the range's ends) are (n_out, n_groups).
    """

    codes: list[list[int]]
    margins: Matrix
    residuals: Matrix
    targets: Matrix
    scale: Matrix
    zero_point: list[list[int]]
    zero_margin: Matrix
    low: Matrix
    high: Matrix
    group: list[int]
    order: list[int]
    weights: Matrix
    hessian: Matrix
    factor: ExactFactor


def gptq(
    weights: Matrix,
    hessian: Matrix,
    *,
    bits: int,
    group_size: int,
    damping: Fraction,
    symmetric: bool = False,
    per_channel: bool = True,
    activation_order: bool = False,
    block_size: int = 128,
) -> ExactGPTQ:
    """Quantize by w'_j = w_j + sum over k < j of (w_k − ŵ_k) M_kj, exactly.

    Examples
    --------
    >>> answer = gptq([[Fraction(0), Fraction(7, 5), Fraction(3)]],
    ...               fractions_of([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    ...               bits=2, group_size=-1, damping=Fraction(0))
    >>> answer.codes, answer.margins[0][1]
    ([[0, 1, 3]], Fraction(1, 10))
    """
    n_out, n_in = len(weights), len(hessian)
    maxq = 2**bits - 1
    damped, dead, order = prepare(hessian, damping, activation_order)
    H = [[damped[i][j] for j in order] for i in order]
    W = [[Fraction(0) if dead[j] else row[j] for j in order] for row in weights]
    factor = ldl(H)
    size = n_in if group_size == -1 else group_size
    group = [j // size for j in range(n_in)]

    differences: Matrix = [[] for _ in range(n_out)]  # w_k − ŵ_k of the finished columns
    codes: list[list[int]] = [[] for _ in range(n_out)]
    margins: Matrix = [[] for _ in range(n_out)]
    residuals: Matrix = [[] for _ in range(n_out)]
    targets: Matrix = [[] for _ in range(n_out)]
    scale: Matrix = [[] for _ in range(n_out)]
    zero_point: list[list[int]] = [[] for _ in range(n_out)]
    zero_margin: Matrix = [[] for _ in range(n_out)]
    low: Matrix = [[] for _ in range(n_out)]
    high: Matrix = [[] for _ in range(n_out)]

    for j in range(n_in):
        if j % size == 0:
            done = j - j % block_size  # columns of earlier blocks
            end = min(j + size, n_in)
            ranges = []
            for i in range(n_out):
                base = compensated(W[i], differences[i][:done], factor, end)[j:end]
                ranges.append((min(base), max(base)))
            if not per_channel:
                ranges = [(min(r[0] for r in ranges), max(r[1] for r in ranges))] * n_out
            for i, (lo, hi) in enumerate(ranges):
                s, z, margin = affine_range(lo, hi, bits=bits, symmetric=symmetric)
                low[i].append(lo)
                high[i].append(hi)
                scale[i].append(s)
                zero_point[i].append(z)
                zero_margin[i].append(margin)
        for i in range(n_out):
            s, z = scale[i][-1], zero_point[i][-1]
            numerator = _dot(differences[i], (row[j] for row in factor.numerators))
            target = W[i][j] + numerator / factor.minors[j]
            code, margin = code_and_margin(target / s, z, 0, maxq)
            value = s * (code - z)
            codes[i].append(code)
            margins[i].append(margin)
            targets[i].append(target)
            residuals[i].append(target - value)
            differences[i].append(W[i][j] - value)
    return ExactGPTQ(
        codes, margins, residuals, targets, scale, zero_point, zero_margin, low, high,
        group, order, W, H, factor,
    )  # fmt: skip


def _dot(dyadic: Row, integers: Iterable[int]) -> Fraction:
    """Return the sum of products of fractions and integers, with one denominator for all.

    Weights and dequantized weights are floats, so that their denominators are powers of two.
    """
    largest = max((d.denominator for d in dyadic), default=1)
    pairs = zip(dyadic, integers, strict=False)
    return Fraction(sum(d.numerator * (largest // d.denominator) * n for d, n in pairs), largest)


def compensated(row: Row, differences: Row, factor: ExactFactor, end: int) -> Row:
    """Return weights up to column `end` with the errors of the first columns fully applied.

    With Q the finished columns and F the others, the compensation y solves y M_FF = (w − ŵ)_Q M_QF,
    from left to right. Every element of y is an integer over the same denominator, since
    y = (w − ŵ)_Q H_QF H_FF⁻¹, and `minors[done]` is the determinant of H_FF.

    Examples
    --------
    >>> factor = ldl(fractions_of([[5.0, 2.0], [2.0, 4.0]]))
    >>> compensated([Fraction(3), Fraction(1)], [HALF], factor, 2)
    [Fraction(3, 1), Fraction(5, 4)]
    """
    done = len(differences)
    if not done:
        return row[:end]
    determinant, numerators = factor.minors[done], factor.numerators
    largest = max(d.denominator for d in differences)
    whole = [determinant * d.numerator * (largest // d.denominator) for d in differences]
    change: list[int] = []
    for j in range(done, end):
        value = sum(d * numerators[k][j] for k, d in enumerate(whole))
        value -= sum(y * numerators[done + k][j] for k, y in enumerate(change))
        change.append(value // factor.minors[j])  # always divides
    denominator = determinant * largest
    return row[:done] + [
        w + Fraction(y, denominator) for w, y in zip(row[done:end], change, strict=True)
    ]


def hessian_of(tokens: Matrix) -> Matrix:
    """Return (2 / N) · sum over N tokens of x xᵀ.

    Examples
    --------
    >>> hessian_of(fractions_of([[1.0, 0.0], [1.0, 2.0]]))
    [[Fraction(2, 1), Fraction(2, 1)], [Fraction(2, 1), Fraction(4, 1)]]
    """
    shared = math.lcm(*(value.denominator for x in tokens for value in x))
    rows = [[value.numerator * (shared // value.denominator) for value in x] for x in tokens]
    columns = list(zip(*rows, strict=True))
    return [
        [Fraction(2 * sum(map(mul, a, b)), len(tokens) * shared**2) for b in columns]
        for a in columns
    ]


def pack(codes: list[int], bits: int) -> list[int]:
    """Return the bytes 0 … 255 of one line of codes, the first code in the lowest bits.

    Examples
    --------
    >>> pack([1, -2, 3], 4)
    [225, 3]
    """
    per_byte = {2: 4, 3: 1, 4: 2, 8: 1}[bits]
    width = bits if per_byte > 1 else 8
    padded = codes + [0] * (-len(codes) % per_byte)
    return [
        sum((code % 2**width) * 2 ** (width * k) for k, code in enumerate(padded[i : i + per_byte]))
        for i in range(0, len(padded), per_byte)
    ]


def trits(codes: list[int]) -> list[int]:
    """Return the bytes of one line of ternary codes, the first code the lowest digit in base 3.

    Examples
    --------
    >>> trits([1, -1, 0, 1, 1, -1])
    [227, 120]
    """
    padded = codes + [0] * (-len(codes) % 5)
    return [
        sum((code + 1) * 3**k for k, code in enumerate(padded[i : i + 5]))
        for i in range(0, len(padded), 5)
    ]


def words(codes: list[int], bits: int, word: int, whole: bool = False) -> list[int]:
    """Return the words of one line of codes from 0, the first code in the lowest bits.

    `word`: bits of a word. `whole`: a word holds whole codes; otherwise a code may begin in one
    word and end in the next.

    Examples
    --------
    >>> [hex(w) for w in words([7] * 11, 3, 32)], [hex(w) for w in words([7] * 11, 3, 32, True)]
    (['0xffffffff', '0x1'], ['0x3fffffff', '0x7'])
    """
    per_word = word // bits if whole else max(len(codes), 1)
    made = []
    for start in range(0, len(codes), per_word):
        run = codes[start : start + per_word]
        number = sum(code << bits * k for k, code in enumerate(run))
        made += [(number >> at) % 2**word for at in range(0, len(run) * bits, word)]
    return made


def unpack(packed: list[int], bits: int, length: int, signed: bool) -> list[int]:
    """Return the first `length` codes of one line of bytes 0 … 255.

    Examples
    --------
    >>> unpack([225, 3], 4, 3, signed=True)
    [1, -2, 3]
    """
    per_byte = {2: 4, 3: 1, 4: 2, 8: 1}[bits]
    width = bits if per_byte > 1 else 8
    fields = [(byte // 2 ** (width * k)) % 2**width for byte in packed for k in range(per_byte)]
    half = 2 ** (width - 1)
    return [f - 2**width if signed and f >= half else f for f in fields[:length]]
