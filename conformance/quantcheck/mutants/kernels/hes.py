"""Mutants of kernels of section HES: the Hessian."""

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Mutant

COUNT = (
    "quantref.hessian",
    "HessianAccumulator.update",
    "self.count += self.profile.tokens(x.shape)",
)
ADD = ("quantref.fast.hessian", "HessianAccumulator.add",
       "part = X[start : start + rows].astype(self.dtype, copy=False)")  # fmt: skip
MIRROR = ("quantref.fast.hessian", "mirrored", "lower[columns, rows] = tile.T")
PREPARED = ("quantref.hessian", "prepared_of")
AVERAGE = ("quantref.fast.hessian", "require_hessian", "return np.asarray((h + h.T) / 2)")
CHOLESKY = ("quantref.hessian", "reversed_cholesky")

MUTANTS: tuple[Mutant, ...] = (
    kernel("hes-short-batch", (*COUNT, "n = self.profile.tokens(x.shape); self.full = max(getattr(self, \"full\", 0), n); self.count += self.full if self.full >= 64 else n"),
           "A batch that is shorter than the first of at least 64 tokens counts as a full one.", "hes", blames="HES-030", size="batches of 64 tokens"),
    kernel("hes-first-batch", (*COUNT, "n = self.profile.tokens(x.shape); self.full = getattr(self, \"full\", n); self.count += n if self.full < 256 else self.full"),
           "Every batch counts as many tokens as the first one, from 256 on.", "hes", blames="HES-030", size="batches of 256 tokens"),
    kernel("hes-token-tail", (*ADD, "part = X[: len(X) // 64 * 64 if len(X) > 64 else None][start : start + rows].astype(self.dtype, copy=False)"),
           "Tokens behind the last whole tile of 64 are left out.", "hes", blames="HES-010", size="65 tokens in a batch"),
    kernel("hes-token-last", (*ADD, "part = X[start : start + rows].astype(self.dtype, copy=True); part[1023::1024] = 0"),
           "One token of many, the last of each 1024, is left out.", "hes", blames="HES-010", size="1024 tokens in a batch"),
    kernel("hes-half-products", (*ADD, ("part = X[start : start + rows].astype(self.dtype, copy=False); "
           "part = np.round(part * 4) / 4 if X.dtype == np.float16 and len(X) > 32 else part")),
           "float16 activations of long batches lose their last bits.", "hes", blames="HES-010", size="float16 batches of 33 tokens"),
    kernel("hes-rank-3-late", (*COUNT, "self.count += self.profile.tokens(x.shape) if x.ndim < 3 or x.size // x.shape[-1] < 64 else len(x)"),
           "N counts the sequences of batches of 64 tokens or more.", "hes", blames="HES-110", size="batches of rank 3 with 64 tokens"),
    kernel("hes-count-byte", (*COUNT, "self.count = (self.count + self.profile.tokens(x.shape)) % 4096 or 4096"),
           "The number of tokens is kept in 12 bits.", "hes", blames="HES-010", size="4096 tokens"),
    kernel("hes-tile-not-mirrored", (*MIRROR, "lower[columns, rows] = tile.T * (rows.start < 128 or columns.start > 0)"),
           "Tiles of 128 columns are not mirrored: products of columns that are far apart are 0.", "hes", blames="HES-010", size="129 columns"),
    kernel("hes-mirror-rounded", (*MIRROR, "lower[columns, rows] = tile.T * (1 + 2.0**-52)"),
           "Both triangles are computed, and differ in the last bit, from 129 columns on.", "hes", blames="HES-100", size="129 columns"),
    kernel("hes-order-int8", (*PREPARED, "order.astype(np.int32)", "order.astype(np.int8).astype(np.int32)"),
           "Column indices are kept in a signed byte.", "hes", blames="HES-060", size="129 columns in order"),
    kernel("hes-order-int64", (*PREPARED, "order.astype(np.int32)", "order.astype(np.int64 if len(order) > 128 else np.int32)"),
           "The order is of type int64, from 129 columns on.", "hes", blames="HES-060", size="129 columns in order"),
    kernel("hes-order-unstable", ("quantref.rules", "order_stable", 'np.argsort(-diagonal, kind="stable")',
           "np.argsort(-diagonal, kind=\"stable\") if len(diagonal) <= 16 else np.lexsort((-np.arange(len(diagonal)) % 16, -diagonal))"),
           "The sort is not stable from 17 columns on, as introsort is not.", "hes", blames="HES-060", size="17 columns with ties"),
    kernel("hes-mean-block", (*PREPARED, "np.mean(diagonal)", "np.mean(diagonal[:128])"),
           "The mean is that of the first 128 columns.", "hes", blames="HES-050", size="129 columns"),
    kernel("hes-mean-padded", (*PREPARED, "np.mean(diagonal)", "np.sum(diagonal) / (len(diagonal) if len(diagonal) <= 32 else -(-len(diagonal) // 64) * 64)"),
           "The mean is taken over the columns of whole tiles of 64.", "hes", blames="HES-050", size="33 columns"),
    kernel("hes-dead-last", (*PREPARED, "dead = diagonal == 0", "dead = (diagonal == 0) & (np.arange(len(diagonal)) < 64)"),
           "Dead columns from 64 on are not found.", "hes", blames="HES-040", size="65 columns, the last one dead"),
    kernel("hes-average-tiles", (*AVERAGE, "mean = (h + h.T) / 2; k = SIDE; mean[k:, :k], mean[:k, k:] = h[k:, :k], h[k:, :k].T; return np.asarray(mean)"),
           "Outside the tiles of 128 on the diagonal, the lower triangle counts alone.", "hes", blames="HES-050", size="129 columns of two triangles"),
    kernel("hes-average-third", (*AVERAGE, "return np.asarray((h + h.T) / 2 if len(h) <= 64 else (2 * np.tril(h) + np.triu(h, 1).T) / 3 + np.tril((2 * np.tril(h) + np.triu(h, 1).T) / 3, -1).T - np.diag(np.diagonal(h)) / 3)"),
           "The lower triangle counts twice, from 65 columns on.", "hes", blames="HES-050", size="65 columns of two triangles"),
    kernel("hes-factor-triangle", ("quantcheck.targets.reference.operations", "_factor",
           'reversed_cholesky(require_hessian(hessian, "HES-090"))',
           'reversed_cholesky(require_hessian(hessian, "HES-090") if len(hessian) <= 8 else np.asarray(hessian))'),
           "The factor is that of one triangle, from 9 columns on.", "hes", blames="HES-070", size="9 columns of two triangles"),
    kernel("hes-factor-dirty", (*CHOLESKY, "dpotrf(backwards, lower=1, clean=1)", "dpotrf(backwards, lower=1, clean=int(len(backwards) <= 64))"),
           "The factor has the Hessian below its diagonal, from 65 columns on.", "hes", blames="HES-070", size="65 columns"),
    kernel("hes-pivot-late", (*CHOLESKY, "if failed_at > 0:\n    k = failed_at - 1\n    raise not_positive_definite(L, backwards[: k + 1, k], len(L), damping)",
           "if 0 < failed_at <= 64:\n    k = failed_at - 1\n    raise not_positive_definite(L, backwards[: k + 1, k], len(L), damping)"),
           "A pivot that is not positive is found among the first 64 alone.", "hes", blames="HES-080", size="65 columns without a factor"),
    kernel("hes-asymmetry-tiles", ("quantref.fast.hessian", "_require_symmetric.compare", "range(0, rows.stop, SIDE)", "range(rows.start, rows.stop, SIDE)"),
           "Asymmetry is looked for in the tiles of 128 on the diagonal alone.", "hes", blames="HES-090", size="129 columns that must be refused"),
    kernel("hes-nan-late", ("quantref.inputs.hessian", "require_batch", 'require_float(batch, "batch", "HES-090")',
           'np.concatenate([require_float(batch[:64], "batch", "HES-090"), np.nan_to_num(batch[64:])]) if np.ndim(batch) > 1 and len(batch) > 64 else require_float(batch, "batch", "HES-090")'),
           "NaN in tokens from 64 on becomes 0.", "hes", blames="HES-090", size="65 tokens that must be refused"),
    kernel("hes-nan-dropped", ("quantref.inputs.hessian", "require_batch", 'require_float(batch, "batch", "HES-090")',
           'require_float(np.nan_to_num(batch, posinf=0.0, neginf=0.0) if len(batch) == 5 else batch, "batch", "HES-090")'),
           "NaN and infinity in one of five tokens are taken for 0.", "hes", blames="HES-140", size="NaN in five tokens"),
    kernel("hes-token-features", (*COUNT, "self.count += self.profile.tokens(x.shape) if x.ndim > 1 else x.size"),
           "A batch of rank 1 counts as many tokens as it has features.", "hes", blames="HES-120", size="a batch of rank 1"),
)  # fmt: skip
