/**
 * Random weights of a model's shapes, so that its speed and memory can be measured where its weights cannot be had: a
 * safetensors file that is made up as it is read. The same every time.
 */
import { seededRandom } from "../core/random.ts";
import type { ByteSource } from "./byte_source.ts";
import { Checkpoint } from "./checkpoint.ts";
import { Safetensors } from "./safetensors.ts";
import type { RequiredTensor } from "./weights.ts";

/** Bytes that repeat. An odd number of elements, so that rows of a matrix differ. */
const PATTERN_BYTES = 2 * ((1 << 19) - 1);

/** f16 numbers of either sign from 2⁻⁷ to 2⁻⁶: about as large as the weights of a trained model. */
function pattern(): Uint8Array<ArrayBuffer> {
  const random = seededRandom(1);
  const halves = new Uint16Array(PATTERN_BYTES / 2);
  // Exponent 8 is 2⁻⁷ by f16's bias of 15.
  for (let i = 0; i < halves.length; i++) {
    const bits = random.nextUint32();
    halves[i] = (bits & 0x8000) | (8 << 10) | (bits >>> 16 & 0x3ff);
  }
  return new Uint8Array(halves.buffer);
}

export function dummyCheckpoint(dir: string, tensors: readonly RequiredTensor[]): Checkpoint {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, shape } of tensors) {
    const start = end;
    end += 2 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: "F16", shape, data_offsets: [start, end] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  const file = new Safetensors(dummyBytes(`${dir} (random weights)`, head, end));
  return new Checkpoint(file.bytes.name, new Map(tensors.map(({ name }) => [name, file])));
}

function dummyBytes(name: string, head: Uint8Array, dataBytes: number): ByteSource {
  const repeated = pattern();
  return {
    name,
    size: head.length + dataBytes,
    read(first, bytes) {
      const out = new Uint8Array(bytes);
      let filled = 0;
      if (first < head.length) {
        const part = head.subarray(first, first + bytes);
        out.set(part);
        filled = part.length;
      }
      while (filled < bytes) {
        const at = (first + filled - head.length) % PATTERN_BYTES;
        const part = repeated.subarray(at, at + bytes - filled);
        out.set(part, filled);
        filled += part.length;
      }
      return out;
    },
  };
}
