/** Section 13 of SPEC.md: kernels in groups of rows, each with a scale and a zero-point. */

import { INTEGERS, demandFinite, isFloat, isInteger, sameShape, zeros } from "./arrays.mjs";
import { demand, demandInteger } from "./refusal.mjs";
import { clip, rint } from "./rounding.mjs";

const RULE = "FOUR-120";
const SMALLEST_NORMAL = 2 ** -126;

/** `grouped_quantize`: codes shaped as the weights, scale and zero_point (n_groups, n_out). */
export function groupedQuantize(weights, { block_size: size, value_range: range, epsilon, output_dtype }) {
  demandInteger(size, RULE, "block_size");
  demand(size >= 1, RULE, "a block size from 1 on", size);
  const [low, high] = demandRange(range, output_dtype);
  const share = typeof epsilon === "number" ? Math.fround(epsilon / (high - low)) : NaN;
  demand(share >= SMALLEST_NORMAL && share < Infinity, RULE, "an epsilon of a normal scale", epsilon);
  demand(weights.shape.length === 2, RULE, "weights of rank 2", weights);
  demandFinite(weights, RULE, "weights");
  const [nIn, nOut] = weights.shape;
  const nGroups = Math.ceil(nIn / size); // [FOUR-010]
  const codes = zeros(output_dtype, weights.shape);
  const scale = zeros("float32", [nGroups, nOut]); // [FOUR-100]
  const zero_point = zeros("int8", [nGroups, nOut]);
  for (let place = 0; place < nGroups * nOut; place++) {
    const [group, column] = [Math.floor(place / nOut), place % nOut];
    const rows = [];
    for (let i = group * size; i < Math.min((group + 1) * size, nIn); i++) rows.push(i * nOut + column);
    const least = rows.reduce((a, i) => Math.min(a, weights.data[i]), 0); // [FOUR-020]
    const most = rows.reduce((a, i) => Math.max(a, weights.data[i]), 0);
    const s = Math.fround((most - least + epsilon) / (high - low)); // [FOUR-030] [FOUR-070]
    demand(s < Infinity, RULE, "a range whose scale is within binary32", most - least);
    const zero = clip(rint(-least / s) + low, low, high); // [FOUR-040] [FOUR-060]
    [scale.data[place], zero_point.data[place]] = [s, zero];
    for (const i of rows) codes.data[i] = clip(rint(weights.data[i] / s) + zero, low, high); // [FOUR-050]
  }
  return { codes, scale, zero_point };
}

/** `grouped_dequantize`: values float32 (n_in, n_out). */
export function groupedDequantize(codes, scale, zero_point, g_idx) {
  demandCodes(codes, scale, zero_point, g_idx);
  const values = zeros("float32", codes.shape);
  const nOut = codes.shape[1];
  codes.data.forEach((code, i) => {
    const p = Number(g_idx.data[Math.floor(i / nOut)]) * nOut + (i % nOut); // [FOUR-090]
    const exact = Number(BigInt(code) - BigInt(zero_point.data[p]));
    values.data[i] = Math.fround(scale.data[p] * exact); // [FOUR-080]
    demand(Number.isFinite(values.data[i]), RULE, "weights within binary32", scale.data[p] * exact);
  });
  return { values };
}

function demandRange(range, dtype) { // [FOUR-120]
  const known = Object.hasOwn(INTEGERS, dtype) && typeof INTEGERS[dtype][0] === "number";
  demand(known, RULE, "an integer dtype of at most 32 bits", dtype);
  demand(Array.isArray(range) && range.length === 2, RULE, "two integers as value_range", range);
  range.forEach((end) => demandInteger(end, RULE, "an end of value_range"));
  const [least, most] = [Math.max(-128, INTEGERS[dtype][0]), Math.min(127, INTEGERS[dtype][1])];
  const [low, high] = range;
  demand(least <= low && low < high && high <= most, RULE, `lo < hi in ${least} … ${most}`, range);
  return range;
}

function demandCodes(codes, scale, zero_point, g_idx) { // [FOUR-120]
  for (const array of [codes, zero_point, g_idx]) demand(isInteger(array), RULE, "integers", array);
  demand(isFloat(scale), RULE, "floats as scale", scale);
  demand(codes.shape.length === 2 && scale.shape.length === 2, RULE, "matrices", codes);
  demand(scale.shape[1] === codes.shape[1], RULE, "a scale for each column", scale);
  demand(sameShape(zero_point.shape, scale.shape), RULE, "zero_point shaped as scale", zero_point);
  demand(sameShape(g_idx.shape, [codes.shape[0]]), RULE, "a group for each row", g_idx);
  demand(scale.data.every((s) => s > 0 && s < Infinity), RULE, "finite, positive scales", scale);
  const inside = g_idx.data.every((g) => g >= 0 && g < scale.shape[0]);
  demand(inside, RULE, `group indices below ${scale.shape[0]}`, g_idx);
}
