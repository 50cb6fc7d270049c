// The Node peer of `jpeg` and `jpeg-quality`: sharp. Argument: the folder whose node_modules has it. Orders and answers as in
// jpeg_peer.py; `whole` and `pixels` only.
import { answer, read, sharp } from './sharp_side.mjs';

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
};

await answer(orders);
