/** The wire of section 12 of SPEC.md: lines of JSON, questions in, answers out. */

import { decodeArray, encodeArray } from "./arrays.mjs";
import { Refusal, demand } from "./refusal.mjs";

const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;
const MARK = "\u0000integer ";

/** JSON.parse that reads whole numbers beyond 2^53 as BigInt, where it would round them. */
export function parse(line) {
  if (!/\d{16}/.test(line)) return JSON.parse(line);
  const marked = line.replace(STRING_OR_NUMBER, (token) =>
    /^-?\d{16,}$/.test(token) ? JSON.stringify(MARK + token) : token,
  );
  return JSON.parse(marked, (_, value) => {
    if (typeof value !== "string" || !value.startsWith(MARK)) return value;
    const whole = BigInt(value.slice(MARK.length));
    return Number.isSafeInteger(Number(whole)) ? Number(whole) : whole;
  });
}

/**
 * Answer the lines of `input` on `output` until it ends, or stop is said.
 *
 * @param {object} about name, version, backend, precision and versions of the target
 * @param {Object<string, {inputs: string[], parameters: string[], run: Function}>} operations
 */
export async function serve(input, output, about, operations) { // [VER-060]
  for await (const line of linesOf(input)) {
    let message;
    try {
      message = parse(line);
    } catch (error) {
      output.write(`${broke(null, error)}\n`);
      continue;
    }
    if (isObject(message) && "stop" in message) return;
    const start = isObject(message) && "start" in message;
    output.write(`${start ? ready(about, operations) : answer(message, operations)}\n`);
  }
}

/** The lines of a stream of bytes, of any length; "\n" ends one, and the end of the stream the last. */
async function* linesOf(input) {
  let parts = [];
  for await (const chunk of input) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      yield Buffer.concat([...parts, chunk.subarray(from, end)]).toString("utf8");
      parts = [];
      from = end + 1;
    }
    parts.push(chunk.subarray(from));
  }
  const last = Buffer.concat(parts);
  if (last.length > 0) yield last.toString("utf8");
}

function ready(about, operations) {
  return JSON.stringify({ ready: { protocol: 1, ...about, operations: Object.keys(operations) } });
}

/** The JSON text of the answer to one line. The first rule of section 12 that applies decides. */
export function answer(question, operations) {
  const id = typeof question?.id === "string" ? question.id : null;
  try {
    mustBeQuestion(question);
    const { operation: name, parameters, inputs } = question;
    if (!Object.hasOwn(operations, name)) return unsupported(id, `operation ${name}`);
    const operation = operations[name];
    mustHave(parameters, operation.parameters);
    mustHave(inputs, operation.inputs);
    for (const [given, known] of [[parameters, operation.parameters], [inputs, operation.inputs]]) {
      const strange = Object.keys(given).find((key) => !known.includes(key));
      if (strange !== undefined) return unsupported(id, `${name} with ${strange}`);
    }
    const decoded = operation.inputs.map((key) => decodeInput(inputs[key]));
    decoded.forEach((input, k) => demandKind(input, operation.inputs[k]));
    const outputs = Object.entries(operation.run(...decoded, withoutBigInts(parameters)));
    const text = outputs.map(([key, array]) => `${JSON.stringify(key)}:${encodeArray(array)}`).join(",");
    return `{"id":${JSON.stringify(id)},"outputs":{${text}}}`;
  } catch (error) {
    if (error instanceof Refusal) return JSON.stringify({ id, refused: error.message, type: error.name });
    return broke(id, error);
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isName = (value) => typeof value === "string" && value !== "";

function mustBeQuestion(line) {
  const named = isObject(line) && isName(line.id) && isName(line.operation);
  if (!named || !isObject(line.parameters) || !isObject(line.inputs)) {
    throw new TypeError("VER-060: expected a question");
  }
}

function mustHave(given, names) {
  const missing = names.find((name) => !Object.hasOwn(given, name));
  if (missing !== undefined) throw new TypeError(`VER-060: expected a question with ${missing}`);
}

/** Refuse a list in place of an array, and an array in place of a list: only batches are a list. */
function demandKind(input, name) {
  const list = name === "batches";
  demand(Array.isArray(input) === list, "VER-060", list ? "a list of arrays" : "one array", name);
}

/** Parameters are compared and counted, never printed: a double is near enough beyond 2^53. */
function withoutBigInts(value) {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(withoutBigInts);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withoutBigInts(part)]));
}

const decodeInput = (wire) => (Array.isArray(wire) ? wire.map(decodeArray) : decodeArray(wire));
const unsupported = (id, reason) => JSON.stringify({ id, unsupported: reason });
const broke = (id, error) => JSON.stringify({ id, error: String(error), trace: String(error?.stack) });
