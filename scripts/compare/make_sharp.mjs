// The Node peer of `variants`, `all` and `jpeg-quality --encoded`: sharp. Argument: the folder whose node_modules has it. Orders, tasks
// and answers as in make_peer.py. HOW: `each` (a pipeline from the file for every task), `clone` (clones of one pipeline, as its
// documentation has it), `animated` (each from the file, all its frames), `raw` (decoded and resized once to the largest, the others from those pixels).
import fs from 'node:fs';
import path from 'node:path';
import { answer, read, sharp } from './sharp_side.mjs';

function parsed(text) {
  const [size, format, ...more] = text.split(':');
  const task = { format, sides: null, box: 0, blur: 0, sharpen: 0, gray: false };
  if (size.includes('x')) task.sides = size.split('x').map(Number);
  else task.box = Number(size);
  for (const word of more) {
    if (word === 'gray') task.gray = true;
    else if (word.startsWith('blur=')) task.blur = Number(word.slice(5));
    else if (word.startsWith('sharpen=')) task.sharpen = Number(word.slice(8));
    else throw new Error(`${text} is no task`);
  }
  return task;
}

function resized(pipeline, task) {
  if (task.sides) return pipeline.resize(...task.sides, { fit: 'fill' });
  return task.box ? pipeline.resize(task.box, task.box, { fit: 'inside', withoutEnlargement: true }) : pipeline;
}

function finished(pipeline, task) {
  if (task.blur) pipeline = pipeline.blur(task.blur);
  if (task.sharpen) pipeline = pipeline.sharpen(task.sharpen);
  if (task.gray) pipeline = pipeline.greyscale().toColourspace('b-w');
  if (task.format === 'jpg') pipeline = pipeline.jpeg({ quality: 80 });
  else if (task.format === 'webp') pipeline = pipeline.webp({ quality: 80 });
  else if (task.format === 'png') pipeline = pipeline.png();
  else if (task.format === 'avif') pipeline = pipeline.avif({ quality: 50 });
  else if (task.format === 'gif') pipeline = pipeline.gif();
  else throw new Error(`${task.format} is not asked of sharp`);
  return pipeline.toBuffer({ resolveWithObject: true });
}

const largest = (task) => (task.sides ? Math.max(...task.sides) : task.box);

async function made(data, how, tasks) {
  let from;
  if (how === 'each') {
    from = () => sharp(data).autoOrient();
  } else if (how === 'animated') {
    from = () => sharp(data, { animated: true });
  } else if (how === 'clone') {
    const one = sharp(data).autoOrient();
    from = () => one.clone();
  } else if (how === 'raw') {
    const most = tasks.reduce((a, b) => (largest(b) > largest(a) ? b : a));
    const raw = await resized(sharp(data).autoOrient(), most).raw().toBuffer({ resolveWithObject: true });
    const { width, height, channels } = raw.info;
    from = () => sharp(raw.data, { raw: { width, height, channels } });
  } else {
    throw new Error(`${how}: sharp does it each, animated, clone or raw`);
  }
  const results = [];
  for (const task of tasks) results.push(await finished(resized(from(), task), task));
  return results;
}

const orders = {
  async make(name, how, out, ...texts) {
    const data = read(name);
    const tasks = texts.map(parsed);
    const start = process.hrtime.bigint();
    const results = await made(data, how, tasks);
    const took = process.hrtime.bigint() - start;
    if (out !== '-') results.forEach(({ data: bytes }, i) => fs.writeFileSync(path.join(out, `${i}.${tasks[i].format}`), bytes));
    return [took, ...results.map(({ data: bytes, info }) => `${info.width}x${info.pageHeight ?? info.height}:${bytes.length}`)].join('\t');
  },
};

await answer(orders);
