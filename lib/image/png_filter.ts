import { parseError } from "./parse_error.ts";

/**
 * Undoes the row filters of one PNG pass in place.
 *
 * `raw` holds, from `start`, `rows` rows of one filter byte and `rowBytes` bytes. `pixelBytes` is the distance to the
 * byte on the left that a filter refers to (at least 1). Throws RequestError `image_parse_error` for an unknown filter.
 */
export function unfilter(
  raw: Uint8Array,
  start: number,
  rows: number,
  rowBytes: number,
  pixelBytes: number,
): void {
  const stride = rowBytes + 1;
  for (let y = 0; y < rows; y++) {
    const row = start + y * stride + 1;
    const above = y === 0 ? -1 : row - stride;
    switch (raw[row - 1]) {
      case 0:
        break;
      case 1:
        for (let i = row + pixelBytes; i < row + rowBytes; i++) raw[i] += raw[i - pixelBytes];
        break;
      case 2:
        if (above >= 0) { for (let i = 0; i < rowBytes; i++) raw[row + i] += raw[above + i]; }
        break;
      case 3:
        undoAverage(raw, row, above, rowBytes, pixelBytes);
        break;
      case 4:
        undoPaeth(raw, row, above, rowBytes, pixelBytes);
        break;
      default:
        throw parseError("the PNG uses an unknown filter");
    }
  }
}

function undoAverage(
  raw: Uint8Array,
  row: number,
  above: number,
  rowBytes: number,
  pixelBytes: number,
): void {
  for (let i = 0; i < rowBytes; i++) {
    const left = i < pixelBytes ? 0 : raw[row + i - pixelBytes];
    const up = above < 0 ? 0 : raw[above + i];
    raw[row + i] += (left + up) >> 1;
  }
}

function undoPaeth(raw: Uint8Array, row: number, above: number, rowBytes: number, pixelBytes: number): void {
  if (above < 0) { // without a row above, the predictor is the byte on the left
    for (let i = row + pixelBytes; i < row + rowBytes; i++) raw[i] += raw[i - pixelBytes];
    return;
  }
  const first = Math.min(pixelBytes, rowBytes);
  for (let i = 0; i < first; i++) raw[row + i] += raw[above + i]; // nothing on the left: the byte above
  for (let i = pixelBytes; i < rowBytes; i++) {
    const left = raw[row + i - pixelBytes];
    const up = raw[above + i];
    const corner = raw[above + i - pixelBytes];
    const toLeft = Math.abs(up - corner);
    const toUp = Math.abs(left - corner);
    const toCorner = Math.abs(left + up - 2 * corner);
    raw[row + i] += toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
  }
}
