/** A decoder compiled to WebAssembly, kept warm between pictures and started anew when it may be spoiled. */

/** What these decoders return; the pixels are a copy outside the decoder's memory. */
export interface RgbaPixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

/** The generated glue: instantiates the decoder. `printErr` gets each line the C library prints. */
export type CodecFactory<Instance> = (options: {
  noInitialRun: boolean;
  print: (line: string) => void;
  printErr: (line: string) => void;
  instantiateWasm: (
    imports: WebAssembly.Imports,
    ready: (instance: WebAssembly.Instance) => void,
  ) => WebAssembly.Exports;
}) => Promise<Instance>;

export interface CodecResult {
  /** null if the decoder refused the file. */
  readonly pixels: RgbaPixels | null;
  /** Lines the library printed about this file. */
  readonly complaints: readonly string[];
}

/** WebAssembly memory never shrinks: after a picture of more pixels than this the instance is dropped. */
const KEPT_PIXELS_MAX = 8_000_000;

export class WasmCodec<Instance> {
  readonly #factory: CodecFactory<Instance>;
  readonly #module: WebAssembly.Module;
  #instance: Promise<Instance> | null = null;
  #complaints: string[] = [];

  constructor(factory: CodecFactory<Instance>, code: Uint8Array<ArrayBuffer>) {
    this.#factory = factory;
    this.#module = new WebAssembly.Module(code);
  }

  /** Runs one decode. `pixels` is how many the header promises. One call at a time. */
  async decode(pixels: number, run: (instance: Instance) => RgbaPixels | null): Promise<CodecResult> {
    this.#complaints = [];
    const instance = await (this.#instance ??= this.#start());
    let decoded: RgbaPixels | null = null;
    try {
      decoded = run(instance);
    } catch {
      this.#instance = null; // the C side left its frames behind: its heap is not to be trusted again
    }
    if (pixels > KEPT_PIXELS_MAX) this.#instance = null;
    return { pixels: decoded, complaints: this.#complaints };
  }

  #start(): Promise<Instance> {
    return this.#factory({
      noInitialRun: true,
      print: () => {},
      printErr: (line) => this.#complaints.push(line),
      instantiateWasm: (imports, ready) => {
        const instance = new WebAssembly.Instance(this.#module, imports);
        ready(instance);
        return instance.exports;
      },
    });
  }
}
