/** Section 6 of SPEC.md: the Hessian of a layer's inputs, and its factor. All of it in doubles. */

import { isFloat, demandFinite, zeros } from "./arrays.mjs";
import { Refusal, demand, demandFlag } from "./refusal.mjs";

const UNIT_ROUNDOFF = 2 ** -53;
const gamma = (k) => (k * UNIT_ROUNDOFF) / (1 - k * UNIT_ROUNDOFF);

/** `hessian`: 2/N · Σ x xᵀ over the tokens of all batches, (n_in, n_in) float64. */
export function accumulateHessian(batches) {
  demand(batches.length > 0, "HES-090", "at least one batch", batches); // [HES-090]
  for (const batch of batches) {
    demand(batch.shape.length > 0, "HES-090", "batches of rank 1 or more", batch);
    demandFinite(batch, "HES-090", "batches");
  }
  const n = batches[0].shape.at(-1);
  const other = batches.find((batch) => batch.shape.at(-1) !== n);
  demand(other === undefined, "HES-090", `batches of width ${n}`, other);
  const hessian = zeros("float64", [n, n]);
  const tokens = batches.reduce((count, batch) => count + batch.data.length / n, 0); // [HES-110] [HES-030]
  for (const batch of batches) {
    for (let token = 0; token < batch.data.length; token += n) addOuterProduct(hessian.data, batch.data, token, n);
  }
  for (let i = 0; i < n; i++) { // [HES-010] [HES-100]
    for (let j = i; j < n; j++) hessian.data[j * n + i] = hessian.data[i * n + j] *= 2 / tokens;
  }
  demandFinite(hessian, "HES-090", "sums within binary64");
  return { hessian };
}

/** Add x xᵀ of the token at `start` to the upper triangle. */
function addOuterProduct(sum, data, start, n) {
  for (let i = 0; i < n; i++) {
    const x = data[start + i];
    if (x === 0) continue;
    for (let j = i; j < n; j++) sum[i * n + j] += x * data[start + j];
  }
}

/**
 * SYMMETRY to DAMPING.
 *
 * @returns {{n: number, damped: Float64Array, dead: boolean[], order: number[]}} not yet permuted
 */
export function prepare(hessian, damping, activationOrder) {
  demandDamping(damping);
  demandFlag(activationOrder, "HES-090", "activation_order");
  const n = demandHessian(hessian);
  const damped = symmetric(hessian.data, n);
  const diagonal = Array.from({ length: n }, (_, j) => damped[j * n + j]);
  const dead = diagonal.map((value) => value === 0);
  const alive = diagonal.map((value) => (value === 0 ? 1 : value)); // [HES-040]
  const order = Array.from(diagonal.keys());
  if (activationOrder) order.sort((a, b) => alive[b] - alive[a] || a - b); // [HES-060]
  const mean = alive.reduce((sum, value) => sum + value, 0) / n;
  alive.forEach((value, j) => {
    damped[j * n + j] = value + damping * mean; // [HES-050]
    demand(damped[j * n + j] < Infinity, "HES-090", "a damped diagonal within binary64", value);
  });
  return { n, damped, dead, order };
}

/** `prepare_hessian`: damped (n_in, n_in) before PERMUTE, dead and order (n_in). */
export function prepareHessian(hessian, { damping, activation_order }) {
  const { n, damped, dead, order } = prepare(hessian, damping, activation_order);
  return {
    damped: { dtype: "float64", shape: [n, n], data: damped },
    dead: { dtype: "uint8", shape: [n], data: dead.map(Number) },
    order: { dtype: "int32", shape: [n], data: order },
  };
}

/** `factor`: R (n_in, n_in), upper triangular with a positive diagonal, H = R Rᵀ. */
export function factorOperation(hessian) {
  const n = demandHessian(hessian);
  const data = factor(symmetric(hessian.data, n), n, "none");
  return { factor: { dtype: "float64", shape: [n, n], data } };
}

/**
 * R of H = R Rᵀ, from the last column to the first: Cholesky of H reversed.
 *
 * @param {Float64Array} h (n, n), flat and symmetric
 * @param {number|string} damping for the message alone
 */
export function factor(h, n, damping) { // [HES-070]
  const r = new Float64Array(n * n);
  for (let j = n - 1; j >= 0; j--) {
    const pivot = h[j * n + j] - dot(r, j, j, j + 1, n);
    if (!(pivot > gamma(n + 4) * h[j * n + j])) { // [HES-080]
      throw new Refusal("HES-080", `a positive definite Hessian (damping ${damping}, pivot ${j})`, pivot);
    }
    r[j * n + j] = Math.sqrt(pivot);
    for (let i = 0; i < j; i++) r[i * n + j] = (h[i * n + j] - dot(r, i, j, j + 1, n)) / r[j * n + j];
  }
  return r;
}

/** Σ r_ik r_jk over k = from … n − 1. */
function dot(r, i, j, from, n) {
  let sum = 0;
  for (let k = from; k < n; k++) sum += r[i * n + k] * r[j * n + k];
  return sum;
}

/** U = R⁻¹, upper triangular, by back substitution from the last row to the first. */
export function inverseOfFactor(r, n) {
  const u = new Float64Array(n * n);
  for (let i = n - 1; i >= 0; i--) {
    u[i * n + i] = 1 / r[i * n + i];
    for (let k = i + 1; k < n; k++) {
      for (let j = k; j < n; j++) u[i * n + j] -= r[i * n + k] * u[k * n + j];
    }
    for (let j = i + 1; j < n; j++) u[i * n + j] /= r[i * n + i];
  }
  return u;
}

/** (H + Hᵀ) / 2; the halves are taken first, so that no sum overflows. */
function symmetric(h, n) {
  const at = (i, j) => (h[i * n + j] === h[j * n + i] ? h[i * n + j] : h[i * n + j] / 2 + h[j * n + i] / 2);
  return Float64Array.from(h, (_, flat) => at(Math.floor(flat / n), flat % n));
}

function demandDamping(damping) { // [HES-090]
  const inside = typeof damping === "number" && damping >= 0 && damping <= 1;
  demand(inside, "HES-090", "damping within [0, 1]", damping);
}

/** Refuse what is no Hessian; return its size. */
export function demandHessian(hessian) { // [HES-090]
  demand(isFloat(hessian), "HES-090", "floats as hessian", hessian);
  const [n, width] = hessian.shape;
  demand(hessian.shape.length === 2 && n === width, "HES-090", "a square matrix as hessian", hessian);
  demandFinite(hessian, "HES-090", "hessian");
  const h = hessian.data;
  const roots = Array.from({ length: n }, (_, j) => Math.sqrt(h[j * n + j]));
  roots.forEach((root, j) => demand(root >= 0, "HES-090", "a diagonal that is not negative", h[j * n + j]));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const [here, there] = [h[i * n + j], h[j * n + i]];
      const lone = roots[i] === 0 && (here !== 0 || there !== 0);
      demand(!lone, "HES-090", `zeros beside the zero diagonal element ${i}`, here || there);
      const even = Math.abs(here - there) <= 2 ** -16 * roots[i] * roots[j];
      demand(even, "HES-090", `a symmetric Hessian at (${i}, ${j})`, here - there);
    }
  }
  return n;
}
