// The Node peer of `jpeg` and `jpeg-quality`: sharp. Argument: the folder whose node_modules has it. Orders and answers as in
// jpeg_peer.py; `whole` and `pixels` only. One thread: UV_THREADPOOL_SIZE=1 and one core are set by who starts it.
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';

const sharp = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'))('sharp');
sharp.cache(false); // otherwise the second round would be answered from memory
sharp.concurrency(1);

const files = new Map();
function read(name) {
  if (!files.has(name)) files.set(name, fs.readFileSync(name));
  return files.get(name);
}

const orders = {
  async whole(name, box) {
    const data = read(name);
    const start = process.hrtime.bigint();
    const { info } = await sharp(data).autoOrient().resize(Number(box), Number(box), { fit: 'inside' }).jpeg({ quality: 80 })
      .toBuffer({ resolveWithObject: true });
    return `${process.hrtime.bigint() - start}\t${info.width}\t${info.height}`;
  },
  async pixels(name, width, height, out) {
    const data = read(name);
    const start = process.hrtime.bigint();
    const info = await sharp(data).autoOrient().resize(Number(width), Number(height), { fit: 'fill' }).png({ compressionLevel: 1 }).toFile(out);
    return `${process.hrtime.bigint() - start}\t${info.width}\t${info.height}`;
  },
  async version() {
    return `0\tsharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}, ${sharp.versions.mozjpeg ? `mozjpeg ${sharp.versions.mozjpeg}` : 'libjpeg-turbo'}`;
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [name, ...fields] = line.split('\t');
  try {
    process.stdout.write(`ok\t${await orders[name](...fields)}\n`);
  } catch (error) {
    process.stdout.write(`error\t${String(error).replaceAll('\n', ' ')}\n`);
  }
}
