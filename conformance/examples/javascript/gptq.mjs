/** Section 7 of SPEC.md: GPTQ, column by column. */

import { codeOf, columnsPerGroup, groupParameters, requireGroupSize, demandWeights } from "./affine.mjs";
import { zeros } from "./arrays.mjs";
import { factor, inverseOfFactor, prepare, demandHessian } from "./hessian.mjs";
import { demand, demandFlag, demandInteger } from "./refusal.mjs";

/** `gptq_quantize`: codes (n_out, n_in), scale and zero_point (n_out, n_groups), g_idx (n_in). */
export function gptqQuantize(weights, hessian, settings) {
  demandSettings(weights, hessian, settings);
  const { bits, group_size } = settings;
  const [nOut, nIn] = weights.shape;
  const maxq = 2 ** bits - 1;
  const width = columnsPerGroup(group_size, nIn); // [GPTQ-050]
  const nGroups = Math.ceil(nIn / width);
  const codes = zeros("uint8", [nOut, nIn]); // [GPTQ-080]
  const scale = zeros("float32", [nOut, nGroups]);
  const zero_point = zeros("uint8", [nOut, nGroups]);
  const g_idx = zeros("int32", [nIn]);

  // PREPARE
  const { w, u, order } = prepared(weights, hessian, settings);
  let base = w;
  for (let j = 0; j < nIn; j++) {
    // BLOCK
    if (j % settings.block_size === 0) base = w.slice();
    // GROUP
    const group = Math.floor(j / width);
    if (j % width === 0) storeGroup(base, j, group, { scale, zero_point }, settings, nIn); // [GPTQ-030] [GPTQ-040]
    g_idx.data[order[j]] = group; // [GPTQ-090]
    for (let row = 0; row < nOut; row++) {
      // CODE
      const [at, p] = [row * nIn, row * nGroups + group];
      const [s, z] = [scale.data[p], zero_point.data[p]];
      const q = codeOf(w[at + j], s, z, maxq);
      codes.data[at + order[j]] = q;
      // ERROR
      const error = (w[at + j] - s * (q - z)) / u[j * nIn + j];
      // FEEDBACK
      for (let k = j + 1; k < nIn; k++) w[at + k] -= error * u[j * nIn + k]; // [GPTQ-060]
    }
  }
  return { codes, scale, zero_point, g_idx };
}

/**
 * Weights and rows of U in processing order.
 *
 * @returns {{w: Float64Array, u: Float64Array, order: number[]}} w (n_out, n_in), u (n_in, n_in), flat
 */
function prepared(weights, hessian, { damping, activation_order }) {
  const { n, damped, dead, order } = prepare(hessian, damping, activation_order);
  const permuted = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) permuted[i * n + j] = damped[order[i] * n + order[j]]; // [GPTQ-020]
  }
  const u = inverseOfFactor(factor(permuted, n, damping), n); // [GPTQ-120]
  const w = weights.data.map((_, flat) => { // [GPTQ-100] doubles throughout
    const [row, column] = [Math.floor(flat / n), order[flat % n]];
    return dead[column] ? 0 : weights.data[row * n + column]; // [GPTQ-010] [GPTQ-020]
  });
  return { w, u, order };
}

/** Take the parameters of the group that starts at column j from the base weights. */
function storeGroup(base, j, group, { scale, zero_point }, { bits, symmetric, per_channel, group_size }, nIn) {
  const stop = Math.min(j + columnsPerGroup(group_size, nIn), nIn);
  const rows = groupParameters(base, nIn, j, stop, bits, symmetric, per_channel);
  rows.forEach((parameters, row) => {
    scale.data[row * scale.shape[1] + group] = parameters.scale;
    zero_point.data[row * scale.shape[1] + group] = parameters.zero;
  });
}

function demandSettings(weights, hessian, settings) { // [GPTQ-110]
  demand([2, 3, 4, 8].includes(settings.bits), "CFG-080", "bits among 2, 3, 4, 8", settings.bits);
  for (const name of ["symmetric", "per_channel", "activation_order"]) demandFlag(settings[name], "GPTQ-110", name);
  requireGroupSize(settings.group_size);
  demandInteger(settings.block_size, "GPTQ-130", "block_size");
  demand(settings.block_size >= 1, "GPTQ-130", "a block size from 1 on", settings.block_size);
  demandWeights(weights);
  const n = demandHessian(hessian);
  demand(n === weights.shape[1], "GPTQ-110", `a Hessian of size ${weights.shape[1]}`, hessian);
}
