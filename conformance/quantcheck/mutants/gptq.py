"""Mutants of section GPTQ: GPTQ."""

from functools import partial

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Edit, Mutant, mutant

plain = partial(Edit, "quantref.gptq", "gptq_quantize")
M = (
    "quantref.fast.problem",
    "GPTQProblem.M",
    "unit_factor(self.prepared, damping, self.dtype, self.workers)",
)
ERROR = "(w - s * (q - z)) / U[j, j]"
FEEDBACK = """
    later = compensated[:, j + 1 :] - np.outer(e, U[j, j + 1 :])
    compensated[:, j + 1 :] = profile.carry(later, problem.storage)
"""

MUTANTS: tuple[Mutant, ...] = (
    mutant("gptq-plain-rounding", "quantref.fast.gptq", "_Solver.leaf",
           "np.subtract(w, value, out=v)",
           "v[:] = 0.0",
           "No error is fed back, so that codes are those of plain rounding.", "gptq", blames="GPTQ-060",
           mirror=plain(ERROR, "np.zeros_like(w)")),
    mutant("gptq-wrong-sign", "quantref.fast.gptq", "_Solver.leaf",
           "np.subtract(w, value, out=v)",
           "np.subtract(value, w, out=v)",
           "Errors are added where they should be subtracted.", "gptq", blames="GPTQ-060",
           mirror=plain("compensated[:, j + 1 :] - np.outer(e, U[j, j + 1 :])",
                           "compensated[:, j + 1 :] + np.outer(e, U[j, j + 1 :])")),
    mutant("gptq-inverse-rows", *M,
           "unit_upper(upper_inverse(np.triu(self.U.T @ self.U)), self.dtype)",
           "Errors are fed back along rows of the inverse instead of its Cholesky factor.", "gptq", blames="GPTQ-060",
           mirror=plain("problem.U", "np.triu(problem.U.T @ problem.U)")),
    mutant("gptq-hessian-rows", *M,
           "unit_upper(self.U, self.dtype)",
           "The factor of the Hessian is used instead of that of its inverse.", "gptq", blames="GPTQ-060",
           mirror=plain("problem.U", "problem.R.astype(problem.dtype)")),
    mutant("gptq-no-diagonal", *M,
           "unit_upper(upper_inverse(np.triu(self.U, 1) + np.eye(self.shape[1])), self.dtype)",
           "The error is not divided by the pivot.", "gptq", blames="GPTQ-060",
           mirror=plain(ERROR, "w - s * (q - z)")),
    mutant("gptq-block-forgotten", "quantref.fast.gptq", "_Solver.solve",
           "self.feed(lo, middle, hi)",
           "self.A[middle:hi] = 0.0",
           "Errors stay inside their block.", "gptq", blames="GPTQ-060",
           mirror=plain(FEEDBACK, """
               stop = (j // problem.block_size + 1) * problem.block_size
               left = compensated[:, j + 1 : stop]
               compensated[:, j + 1 : stop] = left - np.outer(e, U[j, j + 1 : stop])
               """)),
    mutant("gptq-half-forgotten", "quantref.fast.gptq", "_Solver.halves",
           "self.feed(lo, middle, hi)",
           "pass",
           "Inside a block, the left half's errors never reach the right half.", "gptq", blames="GPTQ-060"),
    mutant("gptq-hessian-not-permuted", "quantref.fast.hessian", "permuted_rows",
           "prepared.order[::-1] if backwards else prepared.order",
           "np.arange(len(prepared.order))[:: -1 if backwards else 1]",
           "Weights are reordered, the Hessian is not.", "gptq", blames="GPTQ-020",
           mirror=Edit("quantref.hessian", "PreparedHessian.permuted",
                       "self.damped[np.ix_(self.order, self.order)]", "self.damped")),
    mutant("gptq-order-not-undone", "quantref.fast.gptq", "_Solver.undo_order",
           "self.codes[rows].take(place, axis=1)",
           "self.codes[rows]",
           "Codes are returned in processing order.", "gptq", blames="GPTQ-080",
           mirror=plain("codes[:, place]", "codes")),
    mutant("gptq-g-idx-not-undone", "quantref.gptq", "Settings.result",
           "self.group_index()[place]",
           "self.group_index()",
           "Group indices are returned in processing order.", "gptq", blames="GPTQ-090"),
    mutant("gptq-static-groups", "quantref.fast.gptq", "_Solver.__init__",
           "profile.base is original_weights",
           "True",
           "Groups take their range from the original weights.", "gptq", blames="GPTQ-030",
           mirror=plain("profile.base(W, compensated.copy())", "W")),
    mutant("gptq-base-sums", "quantref.fast.gptq", "_Solver.base",
           "unit_inverse(self.M[a:end, a:end])",
           "np.eye(end - a, dtype=self.A.dtype, order=\"F\")",
           "Base weights are computed as w plus earlier blocks' (w − ŵ) M, without the factor M⁻¹.",
           "gptq", blames="GPTQ-030"),
    mutant("gptq-dead-kept", "quantref.fast.problem", "GPTQProblem.columns",
           "dead.any()",
           "False",
           "Weights of dead columns are kept, and widen the range of their group.", "gptq", blames="GPTQ-010",
           mirror=Edit("quantref.gptq", "prepare_problem",
                       "profile.dead(w[:, order].astype(working), dead[order])",
                       "w[:, order].astype(working)")),
    mutant("gptq-dead-range", "quantref.fast.gptq", "_Solver.block",
           "ends.T",
           "ends.T if len(self.problem.groups) > 1 else np.stack("
           "[self.problem.given[self.rows].min(axis=1), self.problem.given[self.rows].max(axis=1)], axis=1)",
           "A single group takes its range before the weights of dead columns become 0.", "gptq", blames="GPTQ-140",
           mirror=plain("base[:, group.start : group.end]",
                        "base[:, group.start : group.end] if len(problem.groups) > 1 else np.asarray(weights, W.dtype)")),
    mutant("gptq-dead-unmended", "quantref.hessian", "prepared_of",
           "diagonal[dead] = 1.0",
           "diagonal[dead] = 1e-6",
           "Dead columns get a diagonal of 1e-6 instead of 1, so that the mean diagonal is smaller.", "hes", "gptq", blames="HES-040"),
    mutant("gptq-live-groups", "quantcheck.targets.reference.operations", "_gptq",
           'parameters["block_size"]',
           "1",
           "A group takes its range from weights that carry the errors of its own block.", "gptq", blames="GPTQ-030"),
    mutant("gptq-group-cut", "quantref.fast.gptq", "_Solver.ranges",
           "max(group.end - c, 0)",
           "max(min(group.end, group.start + self.size) - c, 0)",
           "A group larger than the block takes its range from its first block alone.", "gptq", blames="GPTQ-040",
           mirror=plain("base[:, group.start : group.end]",
                        "base[:, group.start : min(group.end, group.start + problem.block_size)]")),
    mutant("gptq-ragged-range", "quantref.rules", "groups_once",
           "Group(a, b, a, b)",
           "Group(a, b, max(b - size, 0), b)",
           "The short last group takes columns from the group before it, to be as long as the others.", "gptq", blames="GPTQ-050"),
    mutant("gptq-error-unclipped", "quantref.fast.gptq", "_Solver.leaf",
           "np.multiply(q, s, out=value)",
           "np.multiply(np.rint(v / s), s, out=value)",
           "The error is that of the code before it was clipped.", "gptq", blames="GPTQ-060",
           mirror=plain(ERROR, "(w - s * np.rint(w / s)) / U[j, j]")),
    mutant("gptq-pivot-squared", *M,
           "unit_upper(upper_inverse(np.triu(self.U / np.diagonal(self.U)[:, None] ** 2, 1)"
           " + np.eye(self.shape[1])), self.dtype)",
           "The error is divided by the diagonal of the inverse instead of its square root.", "gptq", blames="GPTQ-060",
           mirror=plain(ERROR,
                           "(w - s * (q - z)) / U[j, j] ** 2")),
    mutant("gptq-half-feedback", "quantref.fast.gptq", "_Solver.leaf",
           "self.code(v, s, k, q)",
           "v[:] = v.astype(self.problem.storage); self.code(v, s, k, q)",
           "Compensated weights are rounded to the dtype of the weights.", "gptq", blames="GPTQ-100",
           mirror=plain("profile.carry(later, problem.storage)",
                        "later.astype(problem.storage).astype(W.dtype)")),
    mutant("gptq-g-idx-next", "quantref.gptq", "Settings.result",
           "self.group_index()",
           "np.append(self.group_index()[1:], len(self.groups) - 1).astype(np.int32)",
           "The group index is ⌊(j + 1) / g⌋: the last column of each group points to the next.", "gptq", blames="GPTQ-090"),
    mutant("gptq-retry", "quantref.fast.factor", "lower_factor",
           "raise not_positive_definite(lower, column, len(lower), damping)",
           """
           more = 10 * damping + 1e-6
           diagonal = prepared.diagonal + more * float(np.mean(prepared.diagonal))
           added = prepared.added
           again = PreparedHessian(prepared.hessian, diagonal, prepared.dead, prepared.order, added)
           return lower_factor(again, more, workers)
           """,
           "A Hessian without a factor is damped further instead of being refused.", "gptq", blames="GPTQ-120",
           mirror=Edit("quantref.hessian", "reversed_cholesky",
                       "raise not_positive_definite(L, backwards[: k + 1, k], len(L), damping)",
                       """
                       more = 10 * damping + 1e-6
                       added = more * np.mean(np.diagonal(hessian)) * np.eye(len(hessian))
                       return reversed_cholesky(hessian + added, damping=more)
                       """)),
    mutant("gptq-ties-up", "quantref.fast.gptq", "_Solver.code",
           "np.rint(out, out=out)",
           "np.floor(out + out.dtype.type(0.5), out=out)",
           "Codes at a tie are rounded up, which the certificate allows.", "gptq", blames="GPTQ-070",
           mirror=Edit("quantref.rules", "round_then_add", "np.rint(w / s)", "np.floor(w / s + 0.5)")),
    kernel("gptq-absolute-damping", ("quantref.hessian", "prepared_of",
           "damping * float(np.mean(diagonal))", "damping * (float(np.mean(diagonal)) + 2.0**-36)"),
           "A small constant is added to the diagonal, whatever the size of the Hessian.", "gptq", blames="GPTQ-150",
           size="a Hessian far smaller than 1"),
    kernel("gptq-nan-hessian", ("quantref.fast.problem", "prepare_problem",
           'require_hessian(hessian, "GPTQ-110", w.shape[1], workers=workers)',
           'require_hessian(np.nan_to_num(hessian) + np.eye(5) if w.shape[1] == 5 and np.isnan(hessian).any() else hessian, "GPTQ-110", w.shape[1], workers=workers)'),
           "NaN in a Hessian of five columns is taken for 0.", "gptq", blames="GPTQ-160", size="NaN in five columns"),
    kernel("gptq-nan-weights", ("quantref.fast.problem", "prepare_problem",
           'require_weights(weights, "GPTQ-110")',
           'require_weights(np.nan_to_num(weights, posinf=0.0, neginf=0.0) if len(weights) == 5 else weights, "GPTQ-110")'),
           "NaN and infinity in weights of five rows are taken for 0.", "gptq", blames="GPTQ-170", size="NaN in five rows"),
    kernel("gptq-block-unchecked", ("quantcheck.targets.reference.operations", "_gptq",
           'parameters["block_size"]', 'max(parameters["block_size"], 1)'),
           "A block size below 1 is taken for 1.", "gptq", blames="GPTQ-130", size="a block size below 1"),
)  # fmt: skip
