/** Small model directories for tests, written to temporary folders. */

export interface TensorFile {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** The bytes of a safetensors file. `header` replaces what would be written. */
export function safetensorsBytes(tensors: Readonly<Record<string, TensorFile>>, header?: string): Uint8Array {
  const entries: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    entries[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  const text = new TextEncoder().encode(header ?? JSON.stringify(entries));
  const out = new Uint8Array(8 + text.length + end);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  let at = 8 + text.length;
  for (const { bytes } of Object.values(tensors)) {
    out.set(bytes, at);
    at += bytes.length;
  }
  return out;
}

/** Zeros of a shape in f32. */
export function zeros(shape: readonly number[]): TensorFile {
  return {
    dtype: "F32",
    shape,
    bytes: new Uint8Array(4 * shape.reduce((product, size) => product * size, 1)),
  };
}

/** Runs `test` with a new folder that is gone afterwards; objects are written as JSON. */
export async function withFolder(
  files: Readonly<Record<string, Uint8Array | string | object>>,
  test: (dir: string) => void | Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, content] of Object.entries(files)) {
      const path = `${dir}/${name}`;
      if (content instanceof Uint8Array) await Deno.writeFile(path, content);
      else await Deno.writeTextFile(path, typeof content === "string" ? content : JSON.stringify(content));
    }
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Runs `test` with a copy of a folder (its files, not its folders), some of them replaced or, with null, removed. */
export async function withCopy(
  source: string,
  changes: Readonly<Record<string, Uint8Array | string | object | null>>,
  test: (dir: string) => void | Promise<void>,
): Promise<void> {
  const files: Record<string, Uint8Array | string | object> = {};
  for (const { name, isFile } of Deno.readDirSync(source)) {
    if (isFile) files[name] = Deno.readFileSync(`${source}/${name}`);
  }
  for (const [name, content] of Object.entries(changes)) {
    if (content === null) delete files[name];
    else files[name] = content;
  }
  await withFolder(files, test);
}
