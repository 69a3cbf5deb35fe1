/** Section 5 of SPEC.md: several codes to a byte. */

import { zeros } from "./arrays.mjs";
import { demand, demandInteger } from "./refusal.mjs";

const CODES_PER_BYTE = Object.freeze({ 2: 4, 3: 1, 4: 2, 8: 1 }); // [PACK-010] [PACK-050] [PACK-060]

/** `pack`: the packed array has the dtype and rank of the codes. */
export function pack(codes, { bits, axis }) {
  const perByte = demandSettings(codes, bits);
  demandRange(codes, bits);
  const lines = linesAlong(codes.shape, axis);
  const packed = zeros(codes.dtype, lines.shapeWith(Math.ceil(lines.length / perByte)));
  const modulus = 2 ** (8 / perByte);
  lines.forEach(packed.shape, (from, to) => {
    for (let k = 0; k < lines.length; k++) { // [PACK-020] what no code fills stays 0
      const field = (codes.data[from(k)] + 256) % modulus; // [PACK-030] two's complement
      packed.data[to(Math.floor(k / perByte))] += field * modulus ** (k % perByte);
    }
  });
  if (codes.dtype === "int8") packed.data = packed.data.map((byte) => (byte > 127 ? byte - 256 : byte));
  return { packed };
}

/** `unpack`: the first `length` codes along the axis. */
export function unpack(packed, { bits, axis, length }) {
  const perByte = demandSettings(packed, bits);
  demandInteger(length, "PACK-080", "length");
  const lines = linesAlong(packed.shape, axis);
  const fits = length >= 0 && Math.ceil(length / perByte) === lines.length;
  demand(fits, "PACK-080", `a length that ${lines.length} bytes hold`, length);
  const codes = zeros(packed.dtype, lines.shapeWith(length));
  const modulus = 2 ** (8 / perByte);
  lines.forEach(codes.shape, (from, to) => {
    for (let k = 0; k < length; k++) { // [PACK-040] padding is not looked at
      const byte = (packed.data[from(Math.floor(k / perByte))] + 256) % 256;
      const field = Math.floor(byte / modulus ** (k % perByte)) % modulus;
      const negative = packed.dtype === "int8" && field >= modulus / 2;
      codes.data[to(k)] = negative ? field - modulus : field; // [PACK-030] sign-extended
    }
  });
  demandRange(codes, bits); // only a byte of a 3-bit code can hold another value
  return { codes };
}

/** The lines of an array along an axis: their length, and a walk beside those of a second array. */
export function linesAlong(shape, axis, requirement = "PACK-080") { // [PACK-070]
  demandInteger(axis, requirement, "axis");
  const rank = shape.length;
  demand(axis >= -rank && axis < rank, requirement, `an axis of rank ${rank}`, axis);
  const at = axis < 0 ? axis + rank : axis;
  const inner = shape.slice(at + 1).reduce((product, n) => product * n, 1);
  const outer = shape.slice(0, at).reduce((product, n) => product * n, 1);
  const indexer = (length, before, after) => (k) => (before * length + k) * inner + after;
  return {
    length: shape[at],
    shapeWith: (length) => shape.map((n, k) => (k === at ? length : n)),
    forEach(otherShape, visit) {
      for (let before = 0; before < outer; before++) {
        for (let after = 0; after < inner; after++) {
          visit(indexer(shape[at], before, after), indexer(otherShape[at], before, after));
        }
      }
    },
  };
}

function demandSettings(array, bits) { // [PACK-080]
  demandInteger(bits, "PACK-080", "bits");
  demand(bits in CODES_PER_BYTE, "PACK-080", "bits among 2, 3, 4, 8", bits);
  demand(array.dtype === "int8" || array.dtype === "uint8", "PACK-080", "int8 or uint8", array);
  return CODES_PER_BYTE[bits];
}

function demandRange(codes, bits) { // [PACK-080]
  const [low, high] = codes.dtype === "int8" ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  const bad = codes.data.find((code) => code < low || code > high);
  demand(bad === undefined, "PACK-080", `codes in ${low} … ${high}`, bad);
}
