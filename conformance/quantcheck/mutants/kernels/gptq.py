"""Mutants of kernels of section GPTQ: GPTQ."""

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Mutant

SOLVER = "quantref.fast.gptq"
ADDED = (SOLVER, "_Solver.block", "self.A[a:b] += self.w")
LEFT = (SOLVER, "_Solver.leaf", "np.subtract(w, value, out=v)")
VALUE = (SOLVER, "_Solver.leaf", "np.multiply(q, s, out=value)")
FEED = (
    SOLVER,
    "_Solver.feed",
    "sums, done, M = self.A[middle:hi], self.A[lo:middle], self.M[lo:middle, middle:hi]",
)
ENDS = (SOLVER, "_Solver.block", "scale, zero_point = self.problem.parameters(ends.T, group)")
FOUND = (SOLVER, "_Solver.block", "found[...] = steps")
HESSIAN = ("quantref.fast.problem", "prepare_problem")

MUTANTS: tuple[Mutant, ...] = (
    kernel("gptq-fourth-block", (*ADDED, "self.A[a:b] = self.w if a == 3 * self.size <= 96 else self.A[a:b] + self.w"),
           "The errors of earlier blocks do not reach the fourth block, in blocks of at most 32 columns.", "gptq", blames="GPTQ-060", size="four blocks of 16 or 32"),
    kernel("gptq-fifth-block", (*ADDED, "self.A[a:b] = self.w if a > 3 * self.size and len(self.A) % 64 == 1 else self.A[a:b] + self.w"),
           "No errors reach the fifth block and later ones, if one column is left behind tiles of 64.", "gptq", blames="GPTQ-060", size="five blocks and one column more"),
    kernel("gptq-tile-last-row", (*LEFT, "np.subtract(w, value, out=v); v[63::64] = 0"),
           "No error is fed back in the last row of each tile of 64 rows.", "gptq", blames="GPTQ-060", size="64 rows"),
    kernel("gptq-tail-row", (*LEFT, "np.subtract(w, value, out=v); v[256:257] = 0"),
           "No error is fed back in one row of many, the first behind 256.", "gptq", blames="GPTQ-060", size="257 rows"),
    kernel("gptq-rows-coarse", (*VALUE, "np.multiply(q, s.astype(np.float16) if len(s) >= 1024 else s, out=value)"),
           "Errors are those of half-precision scales, from 1024 rows on.", "gptq", blames="GPTQ-060", size="1024 rows"),
    kernel("gptq-columns-coarse", (*FEED, """
           sums, done, M = self.A[middle:hi], self.A[lo:middle], self.M[lo:middle, middle:hi]
           if self.size == 127 and len(self.problem.groups) == 1 and not hi <= self.a + len(self.w):
               cut = np.asfortranarray(M, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
               M = np.asfortranarray(cut.view(np.float32), M.dtype)
           """),
           "In one group, errors are carried across blocks of 127 columns along a factor cut to bfloat16.", "gptq", blames="GPTQ-060", size="blocks of 127"),
    kernel("gptq-last-column", (*FEED, ("sums, done, M = self.A[middle:hi], self.A[lo:middle], self.M[lo:middle, middle:hi]\n"
                                       "if hi == len(self.A) and hi % 32 == 1:\n    M = M.copy(order=\"F\"); M[:, -1] = 0")),
           "Errors of earlier halves do not reach a last column behind whole tiles of 32.", "gptq", blames="GPTQ-060", size="one column behind tiles of 32"),
    kernel("gptq-range-row", (*ENDS, "ends[:, 512:] = ends[:, :1]; scale, zero_point = self.problem.parameters(ends.T, group)"),
           "Rows from 512 on get the range of the first row.", "gptq", blames="GPTQ-030", size="513 rows"),
    kernel("gptq-shared-rows", (*ENDS, ("ends = ends[:, np.minimum(np.arange(ends.shape[1]), 63)] if not self.problem.config.per_channel else ends\n"
                                       "scale, zero_point = self.problem.parameters(ends.T, group)")),
           "A range of all rows covers the first 64 rows alone.", "gptq", blames="GPTQ-030", size="65 rows that share a range"),
    kernel("gptq-range-columns", (SOLVER, "_Solver.ranges", "max(group.end - c, 0)", "max(group.end - ((group.end - group.start) % 16 if group.end - group.start > 32 else 0) - c, 0)"),
           "A range leaves out the columns behind the last whole vector of 16, in groups of more than 32.", "gptq", blames="GPTQ-030", size="groups of 33 columns"),
    kernel("gptq-range-whole", (SOLVER, "_Solver.ranges", "max(group.end - c, 0)", "max(min(group.end, group.start + (4 * self.size if group.end - group.start > self.size else 9999)) - c, 0)"),
           "A group over more than four blocks takes its range from the first four.", "gptq", blames="GPTQ-040", size="a group over five blocks"),
    kernel("gptq-last-group", (*ENDS, ("scale, zero_point = self.problem.parameters(ends.T, group)\n"
                                      "if group.first >= 64 and group.stop - group.first == 1:\n    scale, zero_point = self.scales[-1], self.zeros[-1]")),
           "A last group of one column gets the parameters of the group before.", "gptq", blames="GPTQ-050",
           size="a last group of one column behind 64 others"),
    kernel("gptq-block-127", (SOLVER, "_Solver.__init__", "self.size = min(problem.block_size, len(self.A))",
           "self.size = min(128 if problem.block_size == 127 else problem.block_size, len(self.A))"),
           "Blocks of 127 columns are taken for blocks of 128.", "gptq", blames="GPTQ-030", size="blocks of 127"),
    kernel("gptq-crossing", (SOLVER, "_Solver.solve", "self.size * (1 if self.crossing else blocks // 2)", "self.size * (1 if self.crossing and self.size > 32 else blocks // 2)"),
           "A group that goes on in the next block lacks errors there, from four blocks of at most 32 columns on.", "gptq", blames="GPTQ-030",
           size="groups across four blocks"),
    kernel("gptq-half-blocks", (*ADDED, "self.A[a:b] += self.w; self.A[a:b] = self.A[a:b].astype(self.problem.storage)"),
           "At each block, compensated weights are rounded to the dtype of the weights.", "gptq", blames="GPTQ-100",
           size="several blocks of half precision"),
    kernel("gptq-order-tail", ("quantref.fast.hessian", "permuted_rows", "n = len(order)",
           "n = len(order)\nif n % 64 == 1 and n > 64 and (prepared.order != np.arange(n)).any():\n    order = order.copy(); order[[0, 1]] = order[[1, 0]]"),
           "The Hessian has its last two columns swapped, if one is left behind tiles of 64.", "gptq", blames="GPTQ-020", size="one column behind tiles of 64"),
    kernel("gptq-order-columns", ("quantref.fast.problem", "GPTQProblem.columns", "given, order = self.given[rows], self.prepared.order[first:stop]",
           "given, order = self.given[rows], self.prepared.order[first:stop]; order = np.sort(order) if first >= 64 and len(self.prepared.order) % 64 == 1 else order"),
           "From position 64 on, weights are in the original order within their block, if one column is left behind tiles of 64.", "gptq", blames="GPTQ-060", size="one column behind tiles of 64, in order"),
    kernel("gptq-g-idx-byte", ("quantref.gptq", "Settings.result", "self.group_index()[place]", "(self.group_index() % 128)[place]"),
           "Group indices are kept in seven bits.", "gptq", blames="GPTQ-090", size="129 groups"),
    kernel("gptq-dead-late", ("quantref.fast.problem", "GPTQProblem.columns", "dead = self.prepared.dead[order]", "dead = self.prepared.dead[order] & (order < 64)"),
           "Weights of dead columns from 64 on are kept.", "gptq", blames="GPTQ-010", size="65 columns, the last one dead"),
    kernel("gptq-one-triangle", (*HESSIAN, "require_hessian(hessian, \"GPTQ-110\", w.shape[1], workers=workers)",
                                "np.array((require_hessian(hessian, \"GPTQ-110\", w.shape[1], workers=workers), np.tril(hessian) + np.tril(hessian, -1).T)[int(w.shape[1] > 8)], dtype=np.float64)"),
           "The lower triangle of the Hessian counts alone, from 9 columns on.", "gptq", blames="GPTQ-060", size="9 columns of two triangles"),
    kernel("gptq-code-byte", (*FOUND, "found[...] = steps; found[...] = np.where(found > 127, 127, found) if a and found.shape[1] >= 64 else found"),
           "From the second block on, 8-bit codes of 64 rows or more are kept in a signed byte.", "gptq", blames="GPTQ-060", size="64 rows of 8 bits"),
    kernel("gptq-pivot-late", ("quantref.fast.factor", "lower_factor", "failed_at > 0", "0 < failed_at <= 64"),
           "A pivot that is not positive is found among the first 64 alone.", "gptq", blames="GPTQ-120", size="65 columns without a factor"),
    kernel("gptq-nan-late", ("quantref.inputs.arrays", "require_weights", 'require_float(weights, "weights", requirement)',
           'require_float(weights, "weights", requirement) if np.ndim(weights) != 2 or len(weights) <= 64 else np.concatenate([require_float(weights[:64], "weights", requirement), np.nan_to_num(weights[64:])])'),
           "NaN in rows from 64 on becomes 0.", "gptq", blames="GPTQ-110", size="65 rows that must be refused"),
)  # fmt: skip
