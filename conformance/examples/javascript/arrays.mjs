/**
 * Arrays as they travel: {dtype, shape, data}, data flat in C order (SPEC.md, section 11).
 *
 * Floats of every width are held as doubles, which are exact for all of them. Integers are doubles
 * too, except int64 and uint64, which are BigInt.
 */

import { demand } from "./refusal.mjs";

/** Smallest and largest value of each integer dtype. */
export const INTEGERS = Object.freeze({
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
});

const FLOATS = new Set(["float16", "bfloat16", "float32", "float64"]);
const ROUND = Object.freeze({
  float16: rounder(11, -14, 65504),
  bfloat16: rounder(8, -126, 255 * 2 ** 120),
  float32: Math.fround,
  float64: (x) => x,
});
const SPECIAL = new Map([["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity]]);

export const isFloat = (array) => FLOATS.has(array.dtype);
export const isInteger = (array) => Object.hasOwn(INTEGERS, array.dtype);
export const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);
export const sameShape = (a, b) => a.length === b.length && a.every((length, k) => length === b[k]);

/** A new array of zeros. */
export function zeros(dtype, shape) {
  const wide = dtype === "int64" || dtype === "uint64";
  const size = sizeOf(shape);
  return { dtype, shape: [...shape], data: wide ? new Array(size).fill(0n) : new Float64Array(size) };
}

/** Read an array of the wire. What is no array is nobody's bad input: the question is broken. */
export function decodeArray(wire) { // [VEC-020]
  const { dtype, shape, data, ...more } = wire ?? {};
  mustBe(Object.keys(more).length === 0, "dtype, shape and data alone", Object.keys(more));
  mustBe(Array.isArray(shape) && shape.every((n) => Number.isInteger(n) && n >= 0), "lengths as shape", shape);
  mustBe(Array.isArray(data) && data.length === sizeOf(shape), "as many values as the shape has", data?.length);
  if (FLOATS.has(dtype)) return { dtype, shape, data: Float64Array.from(data, (value) => readFloat(value, dtype)) };
  mustBe(Object.hasOwn(INTEGERS, dtype), "a known dtype", dtype);
  return { dtype, shape, data: readIntegers(dtype, data) };
}

/** The nearest value of the dtype; a finite number that becomes infinite is an error. */
function readFloat(value, dtype) {
  if (SPECIAL.has(value)) return SPECIAL.get(value);
  mustBe(typeof value === "number" || typeof value === "bigint", "a number, NaN, Infinity or -Infinity", value);
  const nearest = ROUND[dtype](Number(value));
  mustBe(Number.isFinite(nearest), `a value of ${dtype}`, value);
  return nearest;
}

/** Round to `digits` binary digits, ties to even, with gradual underflow below 2^smallest. */
function rounder(digits, smallest, largest) {
  return (x) => {
    const magnitude = Math.abs(x);
    if (magnitude === 0 || magnitude === Infinity) return x;
    let exponent = Math.floor(Math.log2(magnitude)); // may be off by one next to a power of two
    if (2 ** exponent > magnitude) exponent -= 1;
    else if (2 ** (exponent + 1) <= magnitude) exponent += 1;
    const step = 2 ** (Math.max(exponent, smallest) - digits + 1);
    const rounded = (magnitude / step + 2 ** 52 - 2 ** 52) * step;
    return Math.sign(x) * (rounded > largest ? Infinity : rounded);
  };
}

function readIntegers(dtype, data) {
  const [low, high] = INTEGERS[dtype];
  const wide = typeof low === "bigint";
  return data.map((value) => {
    const whole = typeof value === "bigint" || Number.isInteger(value);
    mustBe(whole && value >= low && value <= high, `integers within ${dtype}`, value);
    return wide ? BigInt(value) : Number(value);
  });
}

function mustBe(condition, expected, got) {
  if (!condition) throw new TypeError(`VEC-020: expected ${expected}, got ${got}`);
}

/** The JSON text of an array: shortest decimals, integers whole, the sign of a float zero kept. */
export function encodeArray({ dtype, shape, data }) { // [VEC-020]
  const text = Array.from(data, Object.hasOwn(INTEGERS, dtype) ? String : floatText).join(",");
  return `{"dtype":${JSON.stringify(dtype)},"shape":[${shape.join(",")}],"data":[${text}]}`;
}

function floatText(value) {
  if (Object.is(value, -0)) return "-0.0";
  return Number.isFinite(value) ? String(value) : `"${value}"`;
}

/** Refuse what is not a float array, empty, or holds NaN or infinity. */
export function demandFinite(array, requirement, name) {
  demand(isFloat(array), requirement, `floats as ${name}`, array);
  demand(array.data.length > 0, requirement, `${name} that are not empty`, array);
  const bad = array.data.findIndex((value) => !Number.isFinite(value));
  demand(bad < 0, requirement, `finite ${name}`, array.data[bad]);
}
