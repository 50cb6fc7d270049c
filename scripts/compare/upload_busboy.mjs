// Upload peer: node:http and busboy, each file piped into a write stream as busboy's README shows; one process per core by node:cluster.
// The answer waits until the files are written, which the README's example does not.
//   npm i busboy ; OUT=/tmp/out PORT=7015 WORKERS=2 node upload_busboy.mjs
import cluster from 'node:cluster';
import fs from 'node:fs';
import { open } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import busboy from 'busboy';

const OUT = process.env.OUT ?? '/tmp/peer-out';
const FSYNC = process.env.FSYNC === '1';

async function sync(name) {
  const handle = await open(name);
  try { await handle.sync(); } finally { await handle.close(); }
}

async function save(stream, name) {
  const to = path.join(OUT, randomUUID());
  const out = fs.createWriteStream(to);
  await pipeline(stream, out);
  if (FSYNC) await sync(to);
  return { name, bytes: out.bytesWritten };
}

function upload(req, res) {
  const answer = (status, body) => { res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body)); };
  if (req.method !== 'POST') return answer(404, {});
  const saving = [];
  const form = busboy({ headers: req.headers });
  form.on('file', (_field, stream, { filename }) => { saving.push(save(stream, filename)); });
  form.on('error', (error) => answer(400, { error: error.message }));
  form.on('close', async () => {
    try {
      const files = await Promise.all(saving);
      if (FSYNC) await sync(OUT);
      answer(202, { files });
    } catch (error) { answer(500, { error: error.message }); }
  });
  req.pipe(form);
}

if (cluster.isPrimary) {
  fs.mkdirSync(OUT, { recursive: true });
  for (let i = 0; i < Number(process.env.WORKERS ?? 1); i++) cluster.fork();
} else {
  http.createServer(upload).listen(Number(process.env.PORT ?? 7015), '127.0.0.1');
}
