/** Outputs that lie together in every weight format. */
export const PANEL = 8;
