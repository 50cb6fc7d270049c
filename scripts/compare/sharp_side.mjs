// What the programs of sharp's sides share. Argument of theirs: the folder whose node_modules has sharp. One thread: UV_THREADPOOL_SIZE=1
// and one core are set by who starts them, sharp.concurrency here.
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';

export const sharp = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'))('sharp');
sharp.cache(false); // otherwise the second round would be answered from memory
sharp.concurrency(1);

const files = new Map();
export function read(name) {
  if (!files.has(name)) files.set(name, fs.readFileSync(name));
  return files.get(name);
}

async function version() {
  return `0\tsharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}, ${sharp.versions.mozjpeg ? `mozjpeg ${sharp.versions.mozjpeg}` : 'libjpeg-turbo'}`;
}

// Orders on standard input, one a line, fields parted by tabs; an answer to each.
export async function answer(orders) {
  const all = { ...orders, version };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, ...fields] = line.split('\t');
    try {
      process.stdout.write(`ok\t${await all[name](...fields)}\n`);
    } catch (error) {
      process.stdout.write(`error\t${String(error).replaceAll('\n', ' ')}\n`);
    }
  }
}
