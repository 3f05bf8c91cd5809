/** Fixed places of the shared memories. */

/** Memory 0 begins with the words of threads.ts, then zeros that stand in for absent biases. Address 0 means "none". */
export const CONTROL = 64;
export const ZEROS = 4096;
/** Sums that wait for their epilogue at a time: more would drive a panel out of the nearest cache. */
export const SUMS_BYTES = 8192;
export const MEMORY_BEGIN = ZEROS + SUMS_BYTES;

/** Each thread's scratch in memory 0: sums of a panel for every row of a step, scores of a tile of queries. */
export const SCRATCH_BYTES = 8 * 1024 * 1024;

/** Weight memories begin with one expanded panel a thread: 32 bytes for each of up to 32,768 inputs. */
export const EXPANSION_BYTES = 1024 * 1024;
export const EXPANDED_COLS_MAX = EXPANSION_BYTES / 32;

/** Every allocation starts on a cache line. */
export const ALIGNMENT = 64;
