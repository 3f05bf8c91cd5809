/** The one EXIF tag that changes how a picture looks. */

/** How a stored picture must be turned to stand upright; 1 is upright. TIFF 6.0, tag 274. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

const ORIENTATION_TAG = 0x0112;
const SHORT = 3;
const LONG = 4;

/** True if width and height change places. */
export function swapsSides(orientation: Orientation): boolean {
  return orientation >= 5;
}

/** Reads the orientation from a TIFF block (what follows `Exif\0\0`). Anything broken or unknown counts as upright. */
export function readOrientation(tiff: Uint8Array): Orientation {
  if (tiff.length < 8) return 1;
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  const order = view.getUint16(0);
  if (order !== 0x4949 && order !== 0x4d4d) return 1; // "II" or "MM"
  const little = order === 0x4949;
  if (view.getUint16(2, little) !== 42) return 1;
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return 1;
  const entries = view.getUint16(directory, little);
  for (let i = 0, at = directory + 2; i < entries && at + 12 <= tiff.length; i++, at += 12) {
    if (view.getUint16(at, little) !== ORIENTATION_TAG) continue;
    const type = view.getUint16(at + 2, little);
    const value = type === SHORT
      ? view.getUint16(at + 8, little)
      : type === LONG
      ? view.getUint32(at + 8, little)
      : 1;
    return value >= 1 && value <= 8 ? value as Orientation : 1;
  }
  return 1;
}
