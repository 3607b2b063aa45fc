// Paints slices from standard input, as the browser does, and writes their RGB to standard output.
// In: for each picture, uint32 length, JSON {slice, window, sizes}, buffers. Out: rows × columns × 3.
import { readFileSync, writeSync } from "node:fs";

const widgets = new URL("../../s4s_notebook/widgets/", import.meta.url);
const { Painter } = await import(new URL("viewer/grayscale.js", widgets));
const { unpack } = await import(new URL("viewer/viewer.js", widgets));

const input = readFileSync(0);
const painter = new Painter();
let at = 0;
while (at < input.length) {
  const length = input.readUInt32LE(at);
  const { slice, window, sizes } = JSON.parse(input.subarray(at + 4, at + 4 + length));
  at += 4 + length;
  const buffers = sizes.map((size) => {
    const bytes = input.subarray(at, at + size);
    at += size;
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  });
  const ready = unpack(slice, buffers);
  const words = new Uint32Array(slice.rows * slice.columns);
  painter.paint(ready, window ?? ready.windows[0] ?? ready.whole, false, words);
  const bytes = Buffer.alloc(words.length * 3);
  for (let i = 0; i < words.length; i += 1) bytes.writeUIntLE(words[i] & 0xffffff, i * 3, 3);
  for (let done = 0; done < bytes.length;) done += writeSync(1, bytes, done);
}
