/** The paper's load: an instruction padded to 128 tokens beside one picture. */
export const TEXT_TOKENS = 128;
/** It generates at most 512; how many on average is not known. */
export const COMPLETION_TOKENS = { least: 64, most: 320 };
/** Multiples of these lengths at which bounds are compared. */
export const LENGTHS = [0.125, 0.25, 0.5, 1, 1.6, 2, 4, 8];
