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
 * @param {object} about name, version, backend, precision, choices and versions of the target
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
    const fault = noQuestion(message, operations);
    if (fault && isObject(message?.stop)) return;
    if (fault && isObject(message?.start)) output.write(`${ready(about, operations)}\n`);
    else if (fault) output.write(`${broke(typeof message?.id === "string" ? message.id : null, new Error(fault))}\n`);
    else output.write(`${answer(message, operations)}\n`);
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isName = (value) => typeof value === "string" && value !== "";

/** What a line lacks of a question; undefined where it is one. */
function noQuestion(message, operations) {
  if (!isObject(message)) return "a line that is no object";
  if (!isName(message.id) || !isName(message.operation)) return "a line without id or operation";
  if (!isObject(message.parameters) || !isObject(message.inputs)) return "a line without parameters or inputs";
  if (!Object.hasOwn(operations, message.operation)) return undefined;
  const { parameters, inputs } = operations[message.operation];
  const lacking = (names, given) => names.find((name) => !Object.hasOwn(given, name));
  const name = lacking(parameters, message.parameters) ?? lacking(inputs, message.inputs);
  return name === undefined ? undefined : `a question without ${name}`;
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
  const rest = Buffer.concat(parts);
  if (rest.length) yield rest.toString("utf8");
}

function ready(about, operations) {
  return JSON.stringify({ ready: { protocol: 1, ...about, operations: Object.keys(operations) } });
}

/** The JSON text of the answer to one question. */
export function answer(question, operations) {
  const { id, parameters } = question;
  try {
    const operation = Object.hasOwn(operations, question.operation) ? operations[question.operation] : undefined;
    if (!operation) return JSON.stringify({ id, unsupported: `operation ${question.operation}` });
    const unknown =
      Object.keys(parameters).find((name) => !operation.parameters.includes(name) && !operation.optional.includes(name)) ??
      Object.keys(question.inputs).find((name) => !operation.inputs.includes(name));
    if (unknown !== undefined) return JSON.stringify({ id, unsupported: `${question.operation} has no ${unknown}` });
    const inputs = operation.inputs.map((name) => decodeInput(question.inputs[name]));
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
