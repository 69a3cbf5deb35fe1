/** Bad input, refused before any work (SPEC.md, section 0). */

export class Refusal extends Error {
  /**
   * @param {string} requirement id of SPEC.md that asks for the refusal
   * @param {string} expected what would have been right
   * @param {*} got what came
   */
  constructor(requirement, expected, got) {
    super(`${requirement}: expected ${expected}, got ${describe(got)}`);
    this.name = "Refusal";
  }
}

/** Throw a Refusal unless `condition` holds. */
export function demand(condition, requirement, expected, got) {
  if (!condition) throw new Refusal(requirement, expected, got);
}

/** Throw a Refusal unless `value` is a whole number. */
export function demandInteger(value, requirement, name) {
  demand(Number.isInteger(value), requirement, `an integer as ${name}`, value);
}

/** Throw a Refusal unless `value` is true or false. */
export function demandFlag(value, requirement, name) {
  demand(typeof value === "boolean", requirement, `true or false as ${name}`, value);
}

function describe(value) {
  if (value === undefined) return "nothing";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (value && typeof value === "object" && "dtype" in value) return `${value.dtype} of shape [${value.shape}]`;
  const text = JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part));
  return text.slice(0, 200);
}
