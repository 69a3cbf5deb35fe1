/** Section 3 of SPEC.md: affine codes q, with ŵ = s·(q − z). */

import { isFloat, isInteger, demandFinite, sameShape, zeros } from "./arrays.mjs";
import { demand, demandFlag, demandInteger } from "./refusal.mjs";
import { clip, differenceQuotient32, rint } from "./rounding.mjs";

const SMALLEST_SCALE = 2 ** -126; // the smallest normal binary32

/**
 * Scale and zero-point of one group.
 *
 * @param {number} lowest the smallest weight of the group
 * @param {number} highest the largest
 * @returns {{scale: number, zero: number}}
 */
export function parametersOfRange(lowest, highest, bits, symmetric) {
  const maxq = 2 ** bits - 1;
  let low = Math.min(lowest, 0); // [AFF-010]
  let high = Math.max(highest, 0);
  if (symmetric) { // [AFF-130]
    high = Math.max(-low, high);
    low = -high;
  }
  if (low === 0 && high === 0) [low, high] = [-1, 1]; // [AFF-020]
  const finite = Number.isFinite(low) && Number.isFinite(high);
  const rounded = finite ? differenceQuotient32(high, low, maxq) : Infinity; // [AFF-150]
  demand(rounded < Infinity, "AFF-110", "a range whose scale is within binary32", high - low);
  const scale = Math.max(rounded, SMALLEST_SCALE); // [AFF-050]
  const zero = symmetric ? 2 ** (bits - 1) : clip(rint(-low / scale), 0, maxq); // [AFF-130] [AFF-060]
  return { scale, zero };
}

/** The code of one weight: rounded first, then shifted. */
export const codeOf = (weight, scale, zero, maxq) => clip(rint(weight / scale) + zero, 0, maxq); // [AFF-070]

/** Number of columns of a group; -1, and more than there are, mean all. */
export function columnsPerGroup(groupSize, nIn) { // [AFF-180]
  return groupSize === -1 ? nIn : Math.min(groupSize, nIn);
}

export function requireGroupSize(groupSize) {
  demandInteger(groupSize, "AFF-110", "group_size");
  demand(groupSize === -1 || groupSize >= 1, "AFF-110", "a group size of -1 or from 1 on", groupSize);
}

/** Refuse weights that are no finite float matrix with elements. */
export function demandWeights(weights) { // [AFF-110]
  demand(weights.shape.length === 2, "AFF-110", "weights of rank 2", weights);
  demandFinite(weights, "AFF-110", "weights");
}

/**
 * Scales and zero-points of the columns start … stop − 1, a pair for each row.
 *
 * @param {Float64Array} data (n_out, nIn), flat
 * @returns {{scale: number, zero: number}[]} n_out of them, all the same unless `perChannel`
 */
export function groupParameters(data, nIn, start, stop, bits, symmetric, perChannel) {
  const ranges = [];
  for (let row = 0; row < data.length; row += nIn) {
    const columns = data.subarray(row + start, row + stop);
    ranges.push([columns.reduce((a, b) => Math.min(a, b)), columns.reduce((a, b) => Math.max(a, b))]);
  }
  if (perChannel) return ranges.map(([low, high]) => parametersOfRange(low, high, bits, symmetric));
  const low = ranges.reduce((least, range) => Math.min(least, range[0]), Infinity);
  const high = ranges.reduce((most, range) => Math.max(most, range[1]), -Infinity);
  const shared = parametersOfRange(low, high, bits, symmetric);
  return ranges.map(() => shared);
}

/** `affine_parameters`: scale float32 and zero_point uint8, both (n_out, n_groups). */
export function affineParameters(weights, { bits, symmetric, per_channel, group_size }) {
  demandBits(bits);
  demandFlag(symmetric, "AFF-110", "symmetric");
  demandFlag(per_channel, "AFF-110", "per_channel");
  requireGroupSize(group_size);
  demandWeights(weights);
  const [nOut, nIn] = weights.shape;
  const width = columnsPerGroup(group_size, nIn);
  const nGroups = Math.ceil(nIn / width); // [AFF-180]
  const scale = zeros("float32", [nOut, nGroups]);
  const zero_point = zeros("uint8", [nOut, nGroups]);
  for (let group = 0; group < nGroups; group++) {
    const stop = Math.min((group + 1) * width, nIn);
    const rows = groupParameters(weights.data, nIn, group * width, stop, bits, symmetric, per_channel);
    rows.forEach((parameters, row) => {
      scale.data[row * nGroups + group] = parameters.scale;
      zero_point.data[row * nGroups + group] = parameters.zero;
    });
  }
  return { scale, zero_point };
}

/** `affine_quantize`: codes uint8 (n_out, n_in). */
export function affineQuantize(weights, scale, zero_point, g_idx, { bits }) {
  demandBits(bits);
  demandWeights(weights);
  const maxq = 2 ** bits - 1;
  demandParameters(weights, scale, zero_point, g_idx);
  const inside = zero_point.data.every((z) => z >= 0 && z <= maxq);
  demand(inside, "AFF-110", `zero-points in 0 … ${maxq}`, zero_point);
  const codes = zeros("uint8", weights.shape);
  forEachElement(codes, scale, g_idx, (i, p) => {
    codes.data[i] = codeOf(weights.data[i], scale.data[p], Number(zero_point.data[p]), maxq);
  });
  return { codes };
}

/** `affine_dequantize`: values float32 (n_out, n_in). */
export function affineDequantize(codes, scale, zero_point, g_idx) {
  demand(isInteger(codes), "AFF-110", "integers as codes", codes);
  demand(codes.shape.length === 2, "AFF-110", "codes of rank 2", codes);
  demandParameters(codes, scale, zero_point, g_idx);
  const values = zeros("float32", codes.shape);
  forEachElement(codes, scale, g_idx, (i, p) => {
    const steps = difference(codes.data[i], zero_point.data[p]);
    values.data[i] = Math.fround(scale.data[p] * steps); // [AFF-160]
    demand(Number.isFinite(values.data[i]), "AFF-110", "weights within binary32", scale.data[p] * steps);
  });
  return { values };
}

/** q − z, rounded once: integers beyond 2^53 are BigInt. */
function difference(q, z) {
  const big = typeof q === "bigint" || typeof z === "bigint";
  return big ? Number(BigInt(q) - BigInt(z)) : q - z;
}

/** Call visit(index of the element, index of its scale) for a matrix. */
function forEachElement({ shape: [nOut, nIn] }, scale, g_idx, visit) {
  const nGroups = scale.shape[1];
  for (let row = 0; row < nOut; row++) {
    for (let j = 0; j < nIn; j++) visit(row * nIn + j, row * nGroups + Number(g_idx.data[j])); // [AFF-100]
  }
}

function demandBits(bits) { // [AFF-110]
  demandInteger(bits, "AFF-110", "bits");
  demand(bits >= 2 && bits <= 8, "AFF-110", "bits in 2 … 8", bits);
}

function demandParameters(matrix, scale, zero_point, g_idx) { // [AFF-110]
  const [nOut, nIn] = matrix.shape;
  demand(isFloat(scale), "AFF-110", "floats as scale", scale);
  demand(scale.shape.length === 2 && scale.shape[0] === nOut, "AFF-110", `scale (${nOut}, n_groups)`, scale);
  demand(scale.data.every((s) => s > 0 && s < Infinity), "AFF-110", "finite, positive scales", scale);
  demand(isInteger(zero_point), "AFF-110", "integers as zero_point", zero_point);
  demand(sameShape(zero_point.shape, scale.shape), "AFF-110", "zero_point shaped as scale", zero_point);
  demand(isInteger(g_idx), "AFF-110", "integers as g_idx", g_idx);
  demand(sameShape(g_idx.shape, [nIn]), "AFF-110", `g_idx (${nIn})`, g_idx);
  const nGroups = scale.shape[1];
  demand(g_idx.data.every((g) => g >= 0 && g < nGroups), "AFF-110", `group indices in 0 … ${nGroups - 1}`, g_idx);
}
