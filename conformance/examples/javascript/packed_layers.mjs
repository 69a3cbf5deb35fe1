/** Section 5 of SPEC.md: layers in the packed arrays of other libraries. */

import { sameShape, zeros } from "./arrays.mjs";
import { demand, demandInteger } from "./refusal.mjs";

const INT32 = { dtype: "int32", word: 32, widths: [2, 3, 4, 8] };
const FORMATS = Object.freeze({
  gptq_v1: { ...INT32, inColumns: true, less: 1 }, // [PACK-110] z - 1 is stored
  gptq_v2: { ...INT32, inColumns: true, less: 0 }, // [PACK-100]
  compressed_tensors: { ...INT32, less: 0 }, // [PACK-120]
  compressed_tensors_whole: { ...INT32, whole: true, less: 0 }, // [PACK-130]
  matmulnbits: { dtype: "uint8", word: 8, widths: [2, 4, 8], blocks: true, less: 0 }, // [PACK-140]
});

/** `pack_layer`: codes and zero-points as the format stores them. */
export function packLayer(codes, zeroPoint, settings) {
  const layer = demandLayer(settings, codes.shape);
  demandCodes(codes, codes.shape, settings.bits);
  demandCodes(zeroPoint, [layer.rows, layer.groups], settings.bits);
  demand(zeroPoint.data.every((z) => z >= layer.less), "PACK-160", "zero-points from 1 on", 0);
  const lines = [...Array(layer.rows).keys()].map((i) => [...row(codes, i)]);
  const stored = [...Array(layer.rows).keys()].map((i) => [...row(zeroPoint, i)].map((z) => z - layer.less));
  if (layer.blocks) {
    const blocks = lines.flatMap((line) => [...Array(layer.groups).keys()].map((g) => {
      const block = line.slice(g * layer.size, (g + 1) * layer.size);
      return wordsOf([...block, ...Array(layer.size - block.length).fill(0)], layer);
    }));
    const packed = arrayOf(layer.dtype, [layer.rows, layer.groups, blocks[0].length], blocks.flat());
    return { packed, packed_zero_point: matrix(layer.dtype, stored.map((line) => wordsOf(line, layer))) };
  }
  const weights = lines.map((line) => wordsOf(line, layer));
  const zerosOfGroups = transposed(stored).map((line) => wordsOf(line, layer));
  const [packed, others] = layer.inColumns ? [transposed(weights), zerosOfGroups] : [weights, transposed(zerosOfGroups)];
  return { packed: matrix(layer.dtype, packed), packed_zero_point: matrix(layer.dtype, others) };
}

/** `unpack_layer`: what bits behind the last code hold is not looked at.  [PACK-150] */
export function unpackLayer(packed, packedZeroPoint, settings) {
  const { n_out: rows, n_in: columns } = settings;
  demandInteger(rows, "PACK-160", "n_out");
  demandInteger(columns, "PACK-160", "n_in");
  const layer = demandLayer(settings, [rows, columns]);
  const [alongIn, alongOut] = [countWords(columns, layer), countWords(rows, layer)];
  let codes, stored;
  if (layer.blocks) {
    const perBlock = countWords(layer.size, layer);
    demandWords(packed, layer, [rows, layer.groups, perBlock]);
    demandWords(packedZeroPoint, layer, [rows, countWords(layer.groups, layer)]);
    codes = [...Array(rows).keys()].map((i) => [...Array(layer.groups).keys()].flatMap((g) => {
      const at = (i * layer.groups + g) * perBlock;
      return codesOf(packed.data.slice(at, at + perBlock), layer.size, layer);
    }).slice(0, columns));
    stored = rowsOf(packedZeroPoint).map((line) => codesOf(line, layer.groups, layer));
  } else {
    demandWords(packed, layer, layer.inColumns ? [alongIn, rows] : [rows, alongIn]);
    demandWords(packedZeroPoint, layer, layer.inColumns ? [layer.groups, alongOut] : [alongOut, layer.groups]);
    const lines = layer.inColumns ? transposed(rowsOf(packed)) : rowsOf(packed);
    const groups = layer.inColumns ? rowsOf(packedZeroPoint) : transposed(rowsOf(packedZeroPoint));
    codes = lines.map((line) => codesOf(line, columns, layer));
    stored = transposed(groups.map((line) => codesOf(line, rows, layer)));
  }
  const most = 2 ** layer.bits - 1 - layer.less;
  demand(stored.flat().every((z) => z <= most), "PACK-160", `stored zero-points up to ${most}`, most + 1);
  return { codes: matrix("uint8", codes), zero_point: matrix("uint8", stored.map((line) => line.map((z) => z + layer.less))) };
}

/** The words of a line of codes; a run of bits is one integer.  [PACK-090] */
function wordsOf(line, layer) {
  const perRun = layer.whole ? Math.floor(layer.word / layer.bits) : line.length;
  const words = [];
  for (let first = 0; first < line.length; first += perRun) {
    const run = line.slice(first, first + perRun);
    let number = run.reduceRight((sum, code) => (sum << BigInt(layer.bits)) + BigInt(code), 0n);
    for (let bits = 0; bits < run.length * layer.bits; bits += layer.word) {
      const word = BigInt.asUintN(layer.word, number);
      words.push(Number(layer.dtype === "int32" ? BigInt.asIntN(32, word) : word));
      number >>= BigInt(layer.word);
    }
  }
  return words;
}

/** The first codes of a line of words. */
function codesOf(words, count, layer) {
  const perRun = layer.whole ? Math.floor(layer.word / layer.bits) : count;
  const wordsOfRun = layer.whole ? 1 : words.length;
  return [...Array(count).keys()].map((k) => {
    const first = Math.floor(k / perRun) * wordsOfRun;
    const at = (k % perRun) * layer.bits;
    const here = first + Math.floor(at / layer.word);
    const low = BigInt.asUintN(layer.word, BigInt(words[here]));
    const high = here + 1 < first + wordsOfRun ? BigInt.asUintN(layer.word, BigInt(words[here + 1])) : 0n;
    const both = low + (high << BigInt(layer.word));
    return Number(BigInt.asUintN(layer.bits, both >> BigInt(at % layer.word)));
  });
}

function countWords(count, layer) {
  if (layer.whole) return Math.ceil(count / Math.floor(layer.word / layer.bits));
  return Math.ceil((count * layer.bits) / layer.word);
}

const row = (array, i) => array.data.slice(i * array.shape[1], (i + 1) * array.shape[1]);
const rowsOf = (array) => [...Array(array.shape[0]).keys()].map((i) => [...row(array, i)]);
const transposed = (rows) => rows[0].map((_, k) => rows.map((line) => line[k]));
const matrix = (dtype, rows) => arrayOf(dtype, [rows.length, rows[0].length], rows.flat());

function arrayOf(dtype, shape, values) {
  const array = zeros(dtype, shape);
  array.data.set(values);
  return array;
}

function demandLayer({ format, bits, group_size: groupSize }, shape) { // [PACK-160]
  const known = Object.hasOwn(FORMATS, format);
  demand(known, "PACK-160", `a format among ${Object.keys(FORMATS).join(", ")}`, format);
  const layer = FORMATS[format];
  demandInteger(bits, "PACK-160", "bits");
  demand(layer.widths.includes(bits), "PACK-160", `bits among ${layer.widths.join(", ")}`, bits);
  demand(shape.length === 2 && Math.min(...shape) > 0, "PACK-160", "codes of shape (n_out, n_in)", shape);
  demandInteger(groupSize, "PACK-160", "group_size");
  const [rows, columns] = shape;
  const size = groupSize === -1 ? columns : groupSize;
  demand(size >= 1, "PACK-160", "group_size of -1, or from 1 on", groupSize);
  const power = size >= 16 && Number.isInteger(Math.log2(size));
  demand(!layer.blocks || power, "PACK-160", "a power of two from 16 on as group_size", size);
  const whole = (rows * bits) % 32 === 0 && (columns * bits) % 32 === 0;
  demand(!layer.inColumns || whole, "PACK-160", "rows and columns that fill words", shape);
  return { ...layer, bits, rows, size, groups: Math.ceil(columns / size) };
}

function demandCodes(array, shape, bits) { // [PACK-160]
  demand(array.dtype === "uint8", "PACK-160", "uint8", array.dtype);
  demand(sameShape(array.shape, shape), "PACK-160", `shape ${shape}`, array.shape);
  demand(array.data.every((code) => code < 2 ** bits), "PACK-160", `codes of ${bits} bits`, 2 ** bits);
}

function demandWords(array, layer, shape) { // [PACK-160]
  demand(array.dtype === layer.dtype, "PACK-160", layer.dtype, array.dtype);
  demand(sameShape(array.shape, shape), "PACK-160", `shape ${shape}`, array.shape);
}
