/** The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes end to end. */
import { StartError } from "../core/errors.ts";
import type { MatrixDtype } from "../ops/tensor.ts";
import type { ByteSource } from "./byte_source.ts";
import { isWhole, type JsonObject, parseJson } from "./json.ts";

/** The format's own bound on its header. */
const HEADER_BYTES_MAX = 100_000_000;
const LENGTH_BYTES = 8;

/** Bytes of an element. Types that pack elements below a byte are not listed: their sizes go unchecked. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

const MATRIX_DTYPES: Readonly<Record<string, MatrixDtype>> = { F32: "f32", F16: "f16", BF16: "bf16" };

/** One tensor of a checkpoint: row-major, little-endian. */
export interface StoredTensor {
  readonly dtype: MatrixDtype;
  readonly shape: readonly number[];
  /** `bytes` bytes of its data from `firstByte` on, in a fresh array. */
  read(firstByte: number, bytes: number): Uint8Array<ArrayBuffer>;
}

/** What the header says of one tensor. `end` and `start` count from the file's first byte. */
interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/** A safetensors file whose header has been read and checked; data is read when asked for. */
export class Safetensors {
  readonly #entries: ReadonlyMap<string, Entry>;

  /** Throws StartError, naming the file, for anything that a complete and correct file would not show. */
  constructor(readonly bytes: ByteSource) {
    const dataStart = headerEnd(bytes);
    const text = new TextDecoder().decode(bytes.read(LENGTH_BYTES, dataStart - LENGTH_BYTES));
    this.#entries = readEntries(parseJson(`${bytes.name} (header)`, text), bytes, dataStart);
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  names(): string[] {
    return [...this.#entries.keys()];
  }

  /** Throws StartError when the tensor is absent or of a type that the engine has no matrices for. */
  tensor(name: string): StoredTensor {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new StartError(`${this.bytes.name}: tensor "${name}" is missing`);
    const dtype = MATRIX_DTYPES[entry.dtype];
    if (dtype === undefined) {
      throw new StartError(
        `${this.bytes.name}: tensor "${name}" is stored as ${entry.dtype}, expected F32, F16 or BF16`,
      );
    }
    const { bytes } = this;
    return {
      dtype,
      shape: entry.shape,
      read(firstByte, count) {
        const start = entry.start + firstByte;
        if (firstByte < 0 || count < 0 || start + count > entry.end) {
          throw new RangeError(`tensor "${name}" has ${entry.end - entry.start} bytes`);
        }
        return bytes.read(start, count);
      },
    };
  }
}

/** Where the header ends and the data begins. */
function headerEnd(bytes: ByteSource): number {
  if (bytes.size < LENGTH_BYTES) {
    throw new StartError(`${bytes.name} is truncated: it has ${bytes.size} bytes, too few for a header`);
  }
  const length = new DataView(bytes.read(0, LENGTH_BYTES).buffer).getBigUint64(0, true);
  if (length > BigInt(HEADER_BYTES_MAX)) {
    throw new StartError(`${bytes.name} is not a safetensors file: its header would have ${length} bytes`);
  }
  const end = LENGTH_BYTES + Number(length);
  if (end > bytes.size) {
    throw new StartError(
      `${bytes.name} is truncated: expected a header of ${length} bytes, the file has ${bytes.size} bytes`,
    );
  }
  return end;
}

function readEntries(header: JsonObject, bytes: ByteSource, dataStart: number): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const name of header.keys()) {
    if (name !== "__metadata__") entries.set(name, readEntry(header, name, dataStart));
  }
  // Tensors lie end to end: no gap, no overlap, nothing after the last one.
  let end = dataStart;
  for (const [name, entry] of [...entries].sort(([, a], [, b]) => a.start - b.start || a.end - b.end)) {
    if (entry.start !== end) {
      throw new StartError(
        `${bytes.name}: tensor "${name}" begins at byte ${entry.start - dataStart} of the data, expected ${
          end - dataStart
        }: tensors ${entry.start < end ? "overlap" : "leave a gap"}`,
      );
    }
    end = entry.end;
  }
  if (end !== bytes.size) {
    throw new StartError(
      `${bytes.name} is ${
        end > bytes.size ? "truncated" : "too long"
      }: expected ${end} bytes, found ${bytes.size}`,
    );
  }
  return entries;
}

function readEntry(header: JsonObject, name: string, dataStart: number): Entry {
  const tensor = header.object(name) ?? header.fail(name, "an object");
  const dtype = tensor.string("dtype");
  const shape = wholeNumbers(tensor, "shape");
  const [first, last, ...rest] = wholeNumbers(tensor, "data_offsets");
  if (last === undefined || rest.length > 0 || last < first) {
    tensor.fail("data_offsets", "two ascending offsets");
  }
  const elementBytes = ELEMENT_BYTES[dtype];
  const expected = shape.reduce((product, size) => product * size, elementBytes ?? 0);
  if (elementBytes !== undefined && expected !== last - first) {
    tensor.fail("data_offsets", `${expected} bytes apart for ${dtype} [${shape.join(", ")}]`);
  }
  return { dtype, shape, start: dataStart + first, end: dataStart + last };
}

function wholeNumbers(tensor: JsonObject, key: string): readonly number[] {
  const value = tensor.value(key);
  if (Array.isArray(value) && value.every((item) => isWhole(item) && item >= 0)) return value;
  return tensor.fail(key, "a list of whole numbers");
}
