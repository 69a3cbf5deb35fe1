"""GPTQ in plain torch, as people write it: columns one by one, errors applied in blocks.

From algorithm 1 of the paper (arXiv 2210.17323), in float32: within a block of columns each error
is subtracted from the block's later columns at once; what comes after the block receives the
errors of all its columns in one product. A contestant of the speed table: nothing else uses it.
"""

from __future__ import annotations

from typing import Any

BLOCK = 128


def parameters(part: Any, most: int) -> tuple[Any, Any]:
    """Return scale and zero-point (n_out, 1) of weights (n_out, columns), from their range."""
    low, high = part.amin(1, keepdim=True).clamp(max=0), part.amax(1, keepdim=True).clamp(min=0)
    scale = ((high - low) / most).clamp(min=1e-30)
    return scale, (-low / scale).round()


def quantize(
    W: Any, H: Any, bits: int = 4, group_size: int = BLOCK, damping: float = 0.01
) -> tuple[Any, Any, Any]:
    """Quantize weights by GPTQ.

    Parameters
    ----------
    W : (n_out, n_in) float32 tensor
    H : (n_in, n_in) float32 tensor
    bits : int
    group_size : int
        A multiple of BLOCK.
    damping : float

    Returns
    -------
    codes : (n_out, n_in) uint8 tensor
    scale, zero_point : (n_out, n_groups) tensors
    """
    import torch

    most, n_in = 2**bits - 1, W.shape[1]
    W, H = W.clone(), H.clone()
    H.diagonal().add_(damping * H.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(H))
    U = torch.linalg.cholesky(inverse, upper=True)  # H⁻¹ = Uᵀ U

    codes = torch.empty(W.shape, dtype=torch.uint8)
    scales, zeros = [], []
    for a in range(0, n_in, BLOCK):
        b = min(a + BLOCK, n_in)
        block, triangle = W[:, a:b], U[a:b, a:b]  # a view: W itself changes
        errors = torch.empty_like(block)
        for j in range(b - a):
            if (a + j) % group_size == 0:
                scale, zero = parameters(W[:, a + j : a + j + group_size], most)
                scales.append(scale)
                zeros.append(zero)
            w = block[:, j : j + 1]
            q = ((w / scale).round() + zero).clamp(0, most)
            e = (w - scale * (q - zero)) / triangle[j, j]
            block[:, j + 1 :] -= e * triangle[j, j + 1 :]
            codes[:, a + j], errors[:, j] = q[:, 0], e[:, 0]
        W[:, b:] -= errors @ U[a:b, b:]
    return codes, torch.cat(scales, 1), torch.cat(zeros, 1)
