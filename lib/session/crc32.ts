/** CRC-32 as zlib has it; in Node versions before 20.15, where zlib doesn't offer it, the same in JavaScript. */
import * as zlib from "node:zlib";

/** `before`: the checksum of what comes before `data`. */
export const crc32: (data: Buffer | string, before?: number) => number = "crc32" in zlib ? zlib.crc32 : slowCrc32;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** Exported for the test that holds it against zlib's. */
export function slowCrc32(data: Buffer | string, before = 0): number {
  let crc = ~before;
  for (const byte of typeof data === "string" ? Buffer.from(data) : data) crc = (TABLE[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}
