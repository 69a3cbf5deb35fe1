/** The wire of section 12 of SPEC.md: lines of JSON, questions in, answers out. */

import { decodeArray, encodeArray } from "./arrays.mjs";
import { Refusal } from "./refusal.mjs";

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
    if (line.trim() === "") continue;
    let message;
    try {
      message = parse(line);
    } catch (error) {
      output.write(`${broke(null, error)}\n`);
      continue;
    }
    if (message && "stop" in message) return;
    const reply = message && "start" in message ? ready(about, operations) : answer(message, operations);
    output.write(`${reply}\n`);
  }
}

/** The lines of a stream of bytes, of any length; only "\n" ends one. */
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
  yield Buffer.concat(parts).toString("utf8");
}

function ready(about, operations) {
  return JSON.stringify({ ready: { protocol: 1, ...about, operations: Object.keys(operations) } });
}

/** The JSON text of the answer to one question. */
export function answer(question, operations) {
  const id = question?.id ?? null;
  try {
    const operation = Object.hasOwn(operations, question.operation) ? operations[question.operation] : undefined;
    if (!operation) return JSON.stringify({ id, unsupported: `operation ${question.operation}` });
    const parameters = question.parameters ?? {};
    const strange = Object.keys(parameters).find((name) => !operation.parameters.includes(name));
    if (strange !== undefined) return JSON.stringify({ id, unsupported: `parameter ${strange}` });
    const inputs = operation.inputs.map((name) => decodeInput(question.inputs?.[name]));
    const outputs = Object.entries(operation.run(...inputs, parameters));
    const text = outputs.map(([name, array]) => `${JSON.stringify(name)}:${encodeArray(array)}`).join(",");
    return `{"id":${JSON.stringify(id)},"outputs":{${text}}}`;
  } catch (error) {
    if (error instanceof Refusal) return JSON.stringify({ id, refused: error.message, type: error.name });
    return broke(id, error);
  }
}

const decodeInput = (wire) => (Array.isArray(wire) ? wire.map(decodeArray) : decodeArray(wire));
const broke = (id, error) => JSON.stringify({ id, error: String(error), trace: String(error?.stack) });
