"""The fast form: threads, memory, and arrays however they lie in memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantref import GPTQConfig, accumulate_hessian, certify, gptq_quantize, gptq_textbook
from quantref.errors import ConfigError
from quantref.fast import gptq as fast
from quantref.inputs import Array

FIELDS = ("codes", "scale", "zero_point", "g_idx", "order")


def problem(n_out: int, n_in: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(n_out + n_in)
    tokens = rng.normal(size=(2 * n_in, n_in)) + rng.normal(size=(2 * n_in, 1)) / 2
    return rng.normal(size=(n_out, n_in)).astype(np.float32), accumulate_hessian([tokens])


def config(**settings: Any) -> GPTQConfig:
    return GPTQConfig(None, None, **{"weight_bits": 4, "group_size": 16, **settings})


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


@pytest.mark.parametrize("block_size", [1, 3, 16, 40, 128])
@pytest.mark.parametrize("group_size", [-1, 1, 16, 24, 50])
def test_equals_the_textbook(block_size: int, group_size: int) -> None:
    """Whole, crossing and fitting groups: halves of the matrix, or one block after the other."""
    weights, hessian = problem(7, 100)
    settings = config(group_size=group_size, activation_order=True)
    assert same(
        gptq_quantize(weights, hessian, settings, block_size=block_size),
        gptq_textbook(weights, hessian, settings, block_size=block_size),
    )


@pytest.mark.parametrize("workers", [2, 3])
def test_rows_are_divided_where_there_are_many(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "ROWS_PER_THREAD", 1024)
    weights, hessian = problem(3 * 1024 + 5, 160)
    alone = gptq_quantize(weights, hessian, config())
    assert same(alone, gptq_quantize(weights, hessian, config(), workers=workers))


@pytest.mark.parametrize("workers", [2, 3, 50])
@pytest.mark.parametrize("settings", [{}, {"activation_order": True}, {"per_channel": False}])
def test_threads_change_nothing(workers: int, settings: dict[str, Any]) -> None:
    weights, hessian = problem(19, 300)
    alone = gptq_quantize(weights, hessian, config(**settings))
    assert same(alone, gptq_quantize(weights, hessian, config(**settings), workers=workers))


@pytest.mark.parametrize("fewest", [1000, 10000])  # threads of ours, of BLAS
def test_threads_in_single_precision_are_certified(
    fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "ROWS_PER_THREAD", fewest)
    weights, hessian = problem(2100, 300)
    result = gptq_quantize(weights, hessian, config(), dtype=np.float32, workers=2)
    assert certify(weights, hessian, result, config()).passed


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_refuses_workers(workers: Any) -> None:
    weights, hessian = problem(2, 4)
    with pytest.raises(ConfigError, match=r"workers.*GPTQ-110"):
        gptq_quantize(weights, hessian, config(), workers=workers)


def test_threads_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    weights, hessian = problem(2, 4)
    with pytest.raises(ConfigError, match=r"quantref\[threads\]"):
        gptq_quantize(weights, hessian, config(), workers=2)


@pytest.mark.parametrize("form", ["fortran", "strided", "memmap", "read-only"])
def test_arrays_however_they_lie(form: str, tmp_path: Path) -> None:
    weights, hessian = problem(24, 160)
    expected = gptq_quantize(weights, hessian, config())
    given = [_laid(array, form, tmp_path / str(k)) for k, array in enumerate((weights, hessian))]
    before = [array.copy() for array in given]
    assert same(gptq_quantize(given[0], given[1], config()), expected)
    assert all(np.array_equal(x, y) for x, y in zip(given, before, strict=True))


def _laid(array: Array, form: str, path: Path) -> Array:
    if form == "fortran":
        return np.asfortranarray(array)
    if form == "strided":
        wide = np.zeros((2 * len(array), 3 * array.shape[1]), array.dtype)
        wide[::2, ::3] = array
        return wide[::2, ::3]
    if form == "memmap":
        np.save(path, array)
        return np.asarray(np.load(path.with_suffix(".npy"), mmap_mode="r"))
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("shape", "group_size"), [((512, 512), 128), ((512, 512), -1), ((20000, 128), 128)]
)
def test_memory(shape: tuple[int, int], group_size: int) -> None:
    """Beside its inputs: a copy of the weights, two float64 matrices (n_in, n_in), the codes."""
    weights, hessian = problem(*shape)
    n_out, n_in = shape
    settings = config(group_size=group_size)
    gptq_quantize(weights, hessian, settings, dtype=np.float32)
    tracemalloc.start()
    gptq_quantize(weights, hessian, settings, dtype=np.float32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    parameters = 2 * n_out * (n_in // 128) * (4 + 4)  # scales and zeros, and in working precision
    assert peak <= 4 * n_out * n_in + 16 * n_in**2 + n_out * n_in + parameters + 2**17


def test_importing_is_light() -> None:
    """No SciPy before it is needed, and no certificate."""
    code = "import quantref, sys; print([m for m in sys.modules if m.startswith('scipy')])"
    code += "; print('quantref.fast.certificate' in sys.modules, quantref.certify.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "False certify"]
