/** What a number of each dtype lies in; int64 and uint64 are BigInts. */
const ARRAYS = {
  bool: Uint8Array, uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, uint64: BigUint64Array, int64: BigInt64Array,
  float16: Uint16Array, bfloat16: Uint16Array, float32: Float32Array, float64: Float64Array,
};
const ALIGNMENT = 64;
const PAGE = 65536;

/** A model with its memory: weights, state, and room for one call at a time. */
export class Model {
  #exports;
  #memory;
  #weights = 0;
  #state = 0;
  #room; // where what a call needs begins
  #plans = new Map();
  #current = null; // the plan whose records lie in memory

  /** `load` makes models. */
  constructor(instance, memory, weights) {
    this.#memory = memory;
    this.#exports = instance.exports;
    if (this.#call("abi") !== FACTS.abi) {
      throw new Error(`[${FACTS.prefix}] the .wasm file is of another build than this module`);
    }
    let at = aligned(this.#exports.__heap_base.value);
    if (FACTS.weights_bytes > 0) {
      if (weights?.byteLength !== FACTS.weights_bytes) {
        throw new Error(
          `[${FACTS.prefix}] these are not the model's weights: got ${weights?.byteLength ?? "no"} bytes; ` +
          `expected ${FACTS.weights_bytes}.`,
        );
      }
      this.#reserve(at + FACTS.weights_bytes);
      new Uint8Array(this.#memory.buffer, at).set(weights);
      this.#weights = at;
      at = aligned(at + FACTS.weights_bytes);
    }
    if (FACTS.state_bytes > 0) {
      this.#reserve(at + FACTS.state_bytes);
      this.#state = at;
      at = aligned(at + FACTS.state_bytes);
      this.reset();
    }
    this.#room = at;
  }

  /** Carry out a signature: results by name, for inputs by name. `dims` are sizes of open dimensions that do
   * not follow from the inputs. State that it writes is kept in the model. */
  run(signature, inputs = {}, dims = {}) {
    const facts = FACTS.signatures[signature];
    if (!facts) {
      throw new Error(
        `[${FACTS.prefix}] no signature ${signature}: expected one of ${Object.keys(FACTS.signatures).join(", ")}.`,
      );
    }
    const given = facts.inputs.map((tensor) => elements(signature, tensor, inputs[tensor.name]));
    const plan = this.#plan(signature, facts, sizes(signature, facts, given, dims));
    if (this.#current !== plan || plan.buffer !== this.#memory.buffer) this.#settle(plan);
    given.forEach(({ data }, i) => {
      const tensor = facts.inputs[i];
      if (data.length !== plan.inputs[i].length) {
        throw new Error(
          `[${FACTS.prefix}.${signature}] ${tensor.name} has ${data.length} elements; expected ` +
          `${plan.inputs[i].length} (${tensor.shape(plan.dims).join(" × ") || "a number"}).`,
        );
      }
      put(plan.inputs[i], data, tensor.dtype);
    });
    this.#check(this.#exports[facts.function](...plan.arguments));
    const results = {};
    facts.outputs.forEach((tensor, i) => {
      const found = taken(plan.outputs[i], tensor.dtype);
      Object.defineProperty(found, "shape", { value: tensor.shape(plan.dims) });
      results[tensor.name] = found;
    });
    return results;
  }

  /** The state by name, as arrays that share the model's memory: valid until the next call. */
  tensors() {
    return Object.fromEntries(FACTS.state.map(({ name, dtype, shape, offset }) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, new ARRAYS[dtype](this.#memory.buffer, this.#state + offset, size)];
    }));
  }

  /** A copy of all state, as bytes that `loadState` takes. */
  saveState() {
    return new Uint8Array(this.#memory.buffer, this.#state, FACTS.state_bytes).slice();
  }

  loadState(bytes) {
    if (bytes.byteLength !== FACTS.state_bytes) {
      throw new Error(
        `[${FACTS.prefix}] this is not the model's state: got ${bytes.byteLength} bytes; expected ${FACTS.state_bytes}.`,
      );
    }
    new Uint8Array(this.#memory.buffer, this.#state).set(bytes);
  }

  /** State as it was when the model was built. */
  reset() {
    if (FACTS.state_bytes > 0) this.#call("state_init", this.#state, this.#weights);
  }

  /** Run the golden cases (golden.bin, as bytes); throws if a result is not what it should be. */
  selftest(golden) {
    const which = this.#room;
    const cases = aligned(which + 8);
    const arena = aligned(cases + golden.byteLength);
    this.#reserve(arena + FACTS.selftest_bytes);
    this.#current = null;
    new Uint8Array(this.#memory.buffer, cases).set(golden);
    this.#check(
      this.#call("selftest", cases, golden.byteLength, arena, FACTS.selftest_bytes, this.#weights, 0, which),
      () => ` (result ${new Uint32Array(this.#memory.buffer, which, 1)[0]})`,
    );
  }

  /** Where everything of a call lies: records of pointers, inputs, outputs, arena. */
  #plan(signature, facts, dims) {
    const all = FACTS.dims.map(({ name, min }) => dims[name] ?? min);
    const key = `${signature} ${all}`;
    const known = this.#plans.get(key);
    if (known) return known;
    let at = this.#room;
    const take = (bytes) => {
      const start = at;
      at = aligned(at + bytes);
      return start;
    };
    const sizes = take(8 * all.length);
    this.#reserve(at);
    all.forEach((n, i) => new DataView(this.#memory.buffer).setBigInt64(sizes + 8 * i, BigInt(n), true));
    this.#current = null;
    this.#check(this.#call("check", sizes, all.length));
    const bytes = this.#call("arena_bytes", sizes, all.length) >>> 0;
    const place = (tensor) => {
      const size = tensor.shape(dims).reduce((a, b) => a * b, 1);
      return { array: ARRAYS[tensor.dtype], size, start: take(size * ARRAYS[tensor.dtype].BYTES_PER_ELEMENT) };
    };
    const given = take(8 * facts.dims.length + 4 * facts.inputs.length);
    const results = take(4 * facts.outputs.length);
    const places = { inputs: facts.inputs.map(place), outputs: facts.outputs.map(place) };
    const arena = take(bytes);
    const state = facts.stateful ? [this.#state] : [];
    const plan = {
      dims, own: facts.dims.map((name) => dims[name]), given, results, places, end: at, buffer: null,
      arguments: [given, results, ...state, arena, bytes, this.#weights, 0],
    };
    if (this.#plans.size > 64) this.#plans.clear();
    this.#plans.set(key, plan);
    return plan;
  }

  /** Write a plan's records, and make its views of memory. */
  #settle(plan) {
    this.#reserve(plan.end);
    const buffer = this.#memory.buffer;
    const view = new DataView(buffer);
    plan.own.forEach((n, i) => view.setBigInt64(plan.given + 8 * i, BigInt(n), true));
    const first = plan.given + 8 * plan.own.length;
    plan.places.inputs.forEach(({ start }, i) => view.setUint32(first + 4 * i, start, true));
    plan.places.outputs.forEach(({ start }, i) => view.setUint32(plan.results + 4 * i, start, true));
    const views = (places) => places.map(({ array, start, size }) => new array(buffer, start, size));
    plan.inputs = views(plan.places.inputs);
    plan.outputs = views(plan.places.outputs);
    plan.buffer = buffer;
    this.#current = plan;
  }

  #reserve(end) {
    const missing = end - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE));
  }

  #call(name, ...given) {
    return this.#exports[`${FACTS.prefix}_${name}`](...given);
  }

  #check(status, more = () => "") {
    if (status === 0) return;
    const bytes = new Uint8Array(this.#memory.buffer, this.#call("status_text", status));
    const text = new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
    const dim = FACTS.dims[status - FACTS.bad_dim];
    throw new Error(`[${FACTS.prefix}] ${text}${dim ? ` (${dim.name}, ${dim.min} to ${dim.max})` : more()}`);
  }
}

for (const [name, { method }] of Object.entries(FACTS.signatures)) {
  if (!(method in Model.prototype)) {
    Object.defineProperty(Model.prototype, method, {
      value(inputs, dims) {
        return this.run(name, inputs, dims);
      },
    });
  }
}

/** Load the model. `wasm` and `weights` may be bytes, a Response, or an address; by default they lie beside
 * this module. */
export async function load({ wasm, weights } = {}) {
  const code = wasm instanceof WebAssembly.Module ? wasm : await WebAssembly.compile(await bytesOf(wasm, ".wasm"));
  const memory = new WebAssembly.Memory({ initial: FACTS.pages });
  const instance = await WebAssembly.instantiate(code, { env: { memory } });
  return new Model(instance, memory, FACTS.weights_bytes > 0 ? await bytesOf(weights, ".weights") : undefined);
}

export default load;

async function bytesOf(source, ending) {
  source ??= new URL(FACTS.prefix + ending, import.meta.url);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (typeof Response !== "undefined" && source instanceof Response) return new Uint8Array(await source.arrayBuffer());
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:" && typeof process !== "undefined") {
    const { readFile } = await import("node:fs/promises");
    return new Uint8Array(await readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`[${FACTS.prefix}] ${url} can't be read: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** What somebody gave for an input: its elements in a row, and its shape if it has one. */
function elements(signature, tensor, value) {
  if (value === undefined || value === null) {
    throw new Error(`[${FACTS.prefix}.${signature}] no ${tensor.name}: expected ${tensor.dtype}.`);
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return { data: [value], shape: undefined };
  }
  const shape = value.shape;
  const data = value.data ?? value;
  return { data: Array.isArray(data) ? data.flat(Infinity) : data, shape };
}

/** Sizes of open dimensions: given ones, and what follows from shapes or from numbers of elements. */
function sizes(signature, facts, given, dims) {
  const found = { ...dims };
  for (let round = 0; round < 2; round++) {
    facts.inputs.forEach((tensor, i) => {
      const { data, shape } = given[i];
      const rows = tensor.open.filter((row) => row !== null);
      if (shape) {
        tensor.open.forEach((row, d) => row !== null && (found[row[0]] ??= (shape[d] - row[2]) / row[1]));
        return;
      }
      const unknown = rows.filter(([name]) => !(name in found));
      if (unknown.length !== 1 || !tensor.counted) return;
      const [name, factor, offset] = unknown[0];
      // What all other dimensions come to, with this one such that it counts once.
      const rest = tensor.shape({ ...found, [name]: (1 - offset) / factor }).reduce((a, b) => a * b, 1);
      if (rest > 0) found[name] = (data.length / rest - offset) / factor;
    });
  }
  for (const name of facts.dims) {
    if (!Number.isInteger(found[name])) {
      throw new Error(
        `[${FACTS.prefix}.${signature}] the size of ${name} is not known: got ${found[name]}. Try: ` +
        `run("${signature}", inputs, { ${name}: … }), or an input as { data, shape }.`,
      );
    }
  }
  return found;
}

function put(view, data, dtype) {
  if (dtype === "int64" || dtype === "uint64") {
    if (data instanceof view.constructor) view.set(data);
    else for (let i = 0; i < view.length; i++) view[i] = BigInt(data[i]);
  } else if (dtype === "float16" || dtype === "bfloat16") {
    const narrow = dtype === "float16" ? halfOf : bfloatOf;
    for (let i = 0; i < view.length; i++) view[i] = narrow(data[i]);
  } else if (dtype === "bool") {
    for (let i = 0; i < view.length; i++) view[i] = data[i] ? 1 : 0;
  } else {
    view.set(data);
  }
}

function taken(view, dtype) {
  if (dtype === "float16") return Float32Array.from(view, fromHalf);
  if (dtype === "bfloat16") return new Float32Array(Uint32Array.from(view, (bits) => bits << 16).buffer);
  return view.slice();
}

const ONE = new Float32Array(1);
const ITS_BITS = new Uint32Array(ONE.buffer);

/** The bits of the nearest float16, ties to even. */
function halfOf(x) {
  ONE[0] = x;
  const sign = (ITS_BITS[0] >>> 16) & 0x8000;
  const magnitude = ITS_BITS[0] & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    ONE[0] = Math.abs(x) + 0.5;
    return sign | (ITS_BITS[0] - 0x3f000000);
  }
  return sign | ((magnitude - (112 << 23) + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function fromHalf(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent === 31
    ? (fraction ? NaN : Infinity)
    : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}

function bfloatOf(x) {
  ONE[0] = x;
  const bits = ITS_BITS[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function aligned(n) {
  return Math.ceil(n / ALIGNMENT) * ALIGNMENT;
}
