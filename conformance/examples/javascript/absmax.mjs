/** Section 4 of SPEC.md: AbsMax codes, with a multiplier for each slice. */

import { INTEGERS, isInteger, demandFinite, zeros } from "./arrays.mjs";
import { demand, demandInteger } from "./refusal.mjs";
import { clip, rint } from "./rounding.mjs";

const DEFAULTS = Object.freeze({ axis: null, value_range: [-127, 127], epsilon: 1e-7, output_dtype: "int8" });

/** `abs_max_quantize`: codes shaped as x, scale with the reduced axes kept at length 1. */
export function absMaxQuantize(x, { axis, value_range, epsilon, output_dtype }) {
  const [low, high] = demandSettings(value_range, epsilon, output_dtype);
  demandFinite(x, "ABS-100", "inputs"); // [ABS-100]
  const reduced = normalizedAxes(axis, x.shape.length);
  const [round, smallest, dtype] =
    x.dtype === "float64"
      ? [(s) => s, 2 ** -1022, "float64"]
      : [Math.fround, 2 ** -126, "float32"]; // [ABS-130] [ABS-060]
  const scale = zeros(dtype, x.shape.map((length, k) => (reduced.has(k) ? 1 : length)));
  const sliceOf = broadcastIndex(scale.shape, x.shape);
  x.data.forEach((value, i) => { // scale.data holds the largest magnitudes first
    const slice = sliceOf(i);
    scale.data[slice] = Math.max(scale.data[slice], Math.abs(value));
  });
  scale.data = scale.data.map((largest) => round(high / (largest + epsilon))); // [ABS-010] [ABS-040]
  const least = scale.data.reduce((a, b) => Math.min(a, b));
  demand(least >= smallest, "ABS-100", "inputs whose scale is a normal number", least);
  const codes = zeros(output_dtype, x.shape);
  x.data.forEach((value, i) => {
    codes.data[i] = clip(rint(value * scale.data[sliceOf(i)]), low, high); // [ABS-030] [ABS-070]
  });
  return { codes, scale };
}

/** `abs_max_quantizer`: an object with the arguments, called with an axis of its own or none. */
export function absMaxQuantizer(x, { arguments: given, call_axis }) {
  const isObject = typeof given === "object" && given !== null && !Array.isArray(given);
  demand(isObject, "CFG-150", "an object as arguments", given);
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(DEFAULTS, name));
  demand(unknown === undefined, "CFG-150", `arguments among ${Object.keys(DEFAULTS)}`, unknown);
  const settings = { ...DEFAULTS, ...given };
  demandAxes(settings.axis, "CFG-150"); // also where the call has another
  return absMaxQuantize(x, { ...settings, axis: call_axis ?? settings.axis ?? -1 }); // [CFG-150]
}

/** `abs_max_dequantize`: codes / scale, in the dtype of the scale. */
export function absMaxDequantize(codes, scale) {
  demand(isInteger(codes), "ABS-110", "integers as codes", codes); // [ABS-110]
  demand(["float32", "float64"].includes(scale.dtype), "ABS-110", "float32 or float64 as scale", scale);
  demand(scale.data.every((s) => s > 0 && s < Infinity), "ABS-110", "a finite, positive scale", scale);
  const rankGap = codes.shape.length - scale.shape.length;
  const fits = rankGap >= 0 && scale.shape.every((n, k) => n === 1 || n === codes.shape[k + rankGap]);
  demand(fits, "ABS-110", `a scale that broadcasts to [${codes.shape}]`, scale);
  const round = scale.dtype === "float64" ? (v) => v : Math.fround;
  const sliceOf = broadcastIndex([...new Array(rankGap).fill(1), ...scale.shape], codes.shape);
  const values = zeros(scale.dtype, codes.shape);
  codes.data.forEach((code, i) => {
    values.data[i] = round(Number(code) / scale.data[sliceOf(i)]); // [ABS-080]
  });
  return { values };
}

/** The set of reduced axes, counted from the front. */
function normalizedAxes(axis, rank) { // [ABS-050]
  if (axis === null) return new Set(Array(rank).keys());
  const axes = demandAxes(axis, "ABS-100");
  const reduced = new Set();
  for (const one of axes) {
    demand(one >= -rank && one < rank, "ABS-100", `an axis of rank ${rank}`, one);
    reduced.add(one < 0 ? one + rank : one);
  }
  demand(reduced.size === axes.length, "ABS-100", "each axis once", axis);
  return reduced;
}

/** Refuse what is neither null, an integer nor a list of integers, each once; return a list. */
function demandAxes(axis, requirement) {
  const axes = Array.isArray(axis) ? axis : axis === null ? [] : [axis];
  for (const one of axes) demandInteger(one, requirement, "axis");
  demand(new Set(axes).size === axes.length, requirement, "each axis once", axis);
  return axes;
}

/** A function from flat indices of `shape` to flat indices of `small`, which has lengths 1 instead of some. */
function broadcastIndex(small, shape) {
  const strides = small.map((length, k) =>
    length === 1 ? 0 : small.slice(k + 1).reduce((product, n) => product * n, 1),
  );
  return (flat) => {
    let index = 0;
    for (let k = shape.length - 1; k >= 0; k--) {
      index += (flat % shape[k]) * strides[k];
      flat = Math.floor(flat / shape[k]);
    }
    return index;
  };
}

function demandSettings(range, epsilon, dtype) {
  const bounds = Object.hasOwn(INTEGERS, dtype) ? INTEGERS[dtype] : [];
  demand(typeof bounds[0] === "number", "CFG-010", "an integer dtype of at most 32 bits", dtype); // [CFG-010]
  demand(Array.isArray(range) && range.length === 2, "CFG-110", "a range (lo, hi)", range);
  const [low, high] = range;
  demandInteger(low, "CFG-110", "lo");
  demandInteger(high, "CFG-110", "hi");
  demand(low <= 0 && high > 0, "CFG-110", "lo ≤ 0 < hi", range); // [CFG-110]
  demand(low >= bounds[0] && high <= bounds[1], "CFG-110", `a range within ${dtype}`, range);
  demand(typeof epsilon === "number" && epsilon > 0 && epsilon < Infinity, "CFG-130", "a positive epsilon", epsilon);
  demand(Math.fround(high / epsilon) < Infinity, "CFG-130", "hi / ε within binary32", epsilon); // [CFG-130]
  return range;
}
