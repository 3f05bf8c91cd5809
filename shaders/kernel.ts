/** One compiled variant of one operation: WGSL text and how it is bound. Knows nothing of a device. */
export interface Kernel {
  /** Names the operation and the variant, e.g. `matmul f16 m8 gelu`; pipelines are cached by it. */
  readonly key: string;
  /** WGSL with one entry point `main`. */
  readonly code: string;
  /** Storage bindings at @group(0) @binding(0…), inputs first, then outputs. */
  readonly bindings: readonly ("read" | "read_write")[];
  /**
   * 32-bit words of the uniform `params` struct, bound after the storage bindings; 0 for none.
   * The host writes them as u32 (floats by their bits), in declaration order, scalars only.
   */
  readonly paramWords: number;
}
