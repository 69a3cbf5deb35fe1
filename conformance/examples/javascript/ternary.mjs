/** Section 5 of SPEC.md: ternary codes, five digits in base 3 to a byte. */

import { zeros } from "./arrays.mjs";
import { linesAlong } from "./packing.mjs";
import { demand, demandInteger } from "./refusal.mjs";

const PER_BYTE = 5;
const LARGEST = 3 ** PER_BYTE - 1;

/** `pack_ternary`: bytes of codes −1, 0 and 1. */
export function packTernary(codes, { axis }) {
  demandTernary(codes, "int8", -1, 1);
  const lines = linesAlong(codes.shape, axis, "PACK-200");
  const packed = zeros("uint8", lines.shapeWith(Math.ceil(lines.length / PER_BYTE)));
  lines.forEach(packed.shape, (from, to) => {
    const digits = Math.ceil(lines.length / PER_BYTE) * PER_BYTE;
    for (let k = 0; k < digits; k++) {
      const digit = k < lines.length ? codes.data[from(k)] + 1 : 1; // [PACK-180] a code 0
      packed.data[to(Math.floor(k / PER_BYTE))] += digit * 3 ** (k % PER_BYTE); // [PACK-170]
    }
  });
  return { packed };
}

/** `unpack_ternary`: the first `length` codes along the axis, whatever digits follow.  [PACK-190] */
export function unpackTernary(packed, { axis, length }) {
  demandTernary(packed, "uint8", 0, LARGEST);
  demandInteger(length, "PACK-200", "length");
  const lines = linesAlong(packed.shape, axis, "PACK-200");
  const fits = length >= 0 && Math.ceil(length / PER_BYTE) === lines.length;
  demand(fits, "PACK-200", `a length that ${lines.length} bytes hold`, length);
  const codes = zeros("int8", lines.shapeWith(length));
  lines.forEach(codes.shape, (from, to) => {
    for (let k = 0; k < length; k++) {
      const byte = packed.data[from(Math.floor(k / PER_BYTE))];
      codes.data[to(k)] = (Math.floor(byte / 3 ** (k % PER_BYTE)) % 3) - 1;
    }
  });
  return { codes };
}

function demandTernary(array, dtype, low, high) { // [PACK-200]
  demand(array.dtype === dtype, "PACK-200", dtype, array);
  const bad = array.data.find((number) => number < low || number > high);
  demand(bad === undefined, "PACK-200", `numbers in ${low} … ${high}`, bad);
}
