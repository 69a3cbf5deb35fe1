/** Section 2 of SPEC.md: rounding to integers, and the casts that saturate. */

import { INTEGERS, isFloat, zeros } from "./arrays.mjs";
import { demand } from "./refusal.mjs";

/** x to the nearest integer, ties to even. Infinity and doubles from 2^52 on are returned as they are. */
export function rint(x) { // [RND-010]
  const magnitude = Math.abs(x);
  if (!(magnitude < 2 ** 52)) return x;
  const below = Math.floor(magnitude);
  const rest = magnitude - below; // exact: both share their leading digits
  const nearest = rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  return x < 0 || Object.is(x, -0) ? -nearest : nearest;
}

export const clip = (x, low, high) => Math.min(Math.max(x, low), high);

/** `round_half_even`: every element to the nearest integer; the dtype stays. */
export function roundHalfEven(x) {
  demandFinite(x);
  return { values: { ...x, data: x.data.map(rint) } };
}

/** `saturating_cast`: every element rounded, and cast; beyond the dtype lies its nearest bound. */
export function saturatingCast(x, { dtype }) {
  demand(Object.hasOwn(INTEGERS, dtype), "RND-020", "an integer dtype", dtype);
  demandFinite(x);
  const [low, high] = INTEGERS[dtype];
  const integer = typeof low === "bigint" ? BigInt : Number;
  const codes = zeros(dtype, x.shape);
  x.data.forEach((value, i) => {
    const whole = rint(value);
    codes.data[i] = integer(whole < low ? low : whole > high ? high : whole); // [RND-020]
  });
  return { codes };
}

function demandFinite(x) { // [RND-030]
  demand(isFloat(x), "RND-030", "floats as x", x);
  const bad = x.data.find((value) => !Number.isFinite(value));
  demand(bad === undefined, "RND-030", "finite numbers", bad);
}

/**
 * f32((high - low) / divisor), rounded once (section 0).
 *
 * The difference is formed exactly, as an integer times a power of two. Its quotient is cut off after
 * 40 to 48 bits, the last bit set if anything was cut ("round to odd"): binary32 cannot tell that
 * from the exact quotient, whether it is near a tie or not.
 *
 * @param {number} high any finite double, not below `low`
 * @param {number} low any finite double
 * @param {number} divisor an integer in 1 … 255
 */
export function differenceQuotient32(high, low, divisor) {
  const [a, b] = [integerAndExponent(high), integerAndExponent(low)];
  const exponent = Math.min(a.exponent, b.exponent);
  const difference =
    (a.integer << BigInt(a.exponent - exponent)) - (b.integer << BigInt(b.exponent - exponent));
  const shift = 48 - difference.toString(2).length;
  const numerator = shift > 0 ? difference << BigInt(shift) : difference;
  const denominator = shift < 0 ? BigInt(divisor) << BigInt(-shift) : BigInt(divisor);
  const quotient = numerator / denominator;
  const odd = numerator % denominator === 0n ? quotient : quotient | 1n;
  return Math.fround(Number(odd) * 2 ** (exponent - shift));
}

/** A finite double as integer · 2^exponent. */
function integerAndExponent(x) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0);
  const field = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & (2n ** 52n - 1n);
  const integer = field === 0 ? fraction : fraction + 2n ** 52n;
  return { integer: bits >> 63n ? -integer : integer, exponent: Math.max(field, 1) - 1075 };
}
