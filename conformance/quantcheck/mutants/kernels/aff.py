"""Mutants of kernels of section AFF: affine quantization."""

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Mutant

ENDS = ("quantref.affine", "group_parameters", "lo, hi = w.min(axis=1), w.max(axis=1)")
PAIRS = ("quantref.affine", "affine_parameters", "scale, zero_point = zip(*pairs, strict=True)")
MAPS = ("quantref.affine", "affine_quantize",
        "s, z = s.astype(np.float64)[:, g], z.astype(np.float64)[:, g]")  # fmt: skip
CODES = ("quantref.affine", "affine_quantize",
         "return round_then_add(w.astype(np.float64), s, z, maxq).astype(np.uint8)")  # fmt: skip
BACK = ("quantref.affine", "affine_dequantize",
        "return require_finite_float32(s.astype(np.float64)[:, g] * steps)")  # fmt: skip

MUTANTS: tuple[Mutant, ...] = (
    kernel("aff-zero-tie-up", ("quantref.rules", "zero_point_clipped",
           "np.rint(-lo / s)", "np.floor(-lo / s + 0.5)"),
           "Zero-points at a tie are rounded up instead of to the even one.", "aff", blames="AFF-060",
           size="a zero-point at a tie of every parity"),
    kernel("aff-tile-last-row", (*ENDS, ("lo, hi = w.min(axis=1), w.max(axis=1)\n"
                                       "lo[63::64], hi[63::64] = lo[62::64][: len(lo[63::64])], hi[62::64][: len(hi[63::64])]")),
           "The last row of each tile of 64 rows gets the range of the row before.", "aff", blames="AFF-150", size="64 rows"),
    kernel("aff-range-columns", (*ENDS, "w = w[:, :256]; lo, hi = w.min(axis=1), w.max(axis=1)"),
           "A range covers the first 256 columns of its group alone.", "aff", blames="AFF-150", size="256 columns"),
    kernel("aff-range-tail", (*ENDS, "w = w[:, : w.shape[1] // 8 * 8] if w.shape[1] > 64 else w; lo, hi = w.min(axis=1), w.max(axis=1)"),
           "A range leaves out the columns behind the last whole vector of 8, from 64 columns on.", "aff", blames="AFF-150", size="65 columns"),
    kernel("aff-group-127", ("quantref.affine", "group_layout",
           "size = n_in if size == -1 else min(size, n_in)",
           "size = n_in if size == -1 else min(128 if size == 127 else size, n_in)"),
           "Groups of 127 columns are taken for groups of 128.", "aff", blames="AFF-180", size="groups of 127"),
    kernel("aff-last-column-alone", (*PAIRS, """
           if len(groups) > 1 and w.shape[1] > 64 and groups[-1].end - groups[-1].start == 1:
               pairs[-1] = pairs[-2]
           scale, zero_point = zip(*pairs, strict=True)
           """),
           "A last group of one column gets the parameters of the group before.", "aff", blames="AFF-180",
           size="a last group of one column behind 64 others"),
    kernel("aff-groups-byte", (*PAIRS, "pairs = [pairs[k % 16] for k in range(len(pairs))]; scale, zero_point = zip(*pairs, strict=True)"),
           "From group 16 on, parameters are those of the first groups.", "aff", blames="AFF-150", size="17 groups"),
    kernel("aff-shared-rows", ("quantref.affine", "group_parameters",
           "lo, hi = np.full_like(lo, lo.min()), np.full_like(hi, hi.max())",
           "lo, hi = np.full_like(lo, lo[:256].min()), np.full_like(hi, hi[:256].max())"),
           "A range of all rows covers the first 256 rows alone.", "aff", blames="AFF-150", size="256 rows"),
    kernel("aff-symmetric-late", (*PAIRS, """
           if symmetric:
               pairs[16:] = [(s, z - np.uint8(1)) for s, z in pairs[16:]]
           scale, zero_point = zip(*pairs, strict=True)
           """),
           "From group 16 on, the symmetric zero-point is off by one.", "aff", blames="AFF-130", size="17 symmetric groups"),
    kernel("aff-nan-late", ("quantref.affine", "affine_parameters", "w = require_weights(weights, \"AFF-110\").astype(np.float64)",
           "w = np.array(weights, np.float64); w[64:] = np.nan_to_num(w[64:]); require_weights(weights if len(w) <= 64 else w, \"AFF-110\")"),
           "NaN in rows from 64 on becomes 0.", "aff", blames="AFF-110", size="65 rows that must be refused"),
    kernel("aff-map-byte", (*MAPS, "g = g.astype(np.int8); s, z = s.astype(np.float64)[:, g], z.astype(np.float64)[:, g]"),
           "A group index of 128 or more is taken for a negative one.", "aff", blames="AFF-100", size="129 groups"),
    kernel("aff-codes-late-ties", (*CODES, ("codes = round_then_add(w.astype(np.float64), s, z, maxq); "
           "codes[:, 256:] = np.clip(np.rint(w.astype(np.float64) / s + z), 0, maxq)[:, 256:]; return codes.astype(np.uint8)")),
           "From column 256 on, the zero-point is added before rounding.", "aff", blames="AFF-070", size="256 columns"),
    kernel("aff-codes-row", (*CODES, ("codes = round_then_add(w.astype(np.float64), s, z, maxq); "
           "codes[64:65] = codes[63:64] if len(codes) > 64 else codes[64:65]; return codes.astype(np.uint8)")),
           "One row of many, the first behind a tile of 64, gets the codes of the row before.", "aff", blames="AFF-070", size="65 rows"),
    kernel("aff-values-half", (*BACK, ("values = s.astype(np.float64)[:, g] * steps; "
           "values[:, 256:] = values[:, 256:].astype(np.float16); return require_finite_float32(values)")),
           "From column 256 on, weights come back in half precision.", "aff", blames="AFF-160", size="256 columns"),
    kernel("aff-values-last-row", (*BACK, "values = s.astype(np.float64)[:, g] * steps; values[4096:] = 0; return require_finite_float32(values)"),
           "Rows from 4096 on come back as 0.", "aff", blames="AFF-160", size="4097 rows"),
)  # fmt: skip
