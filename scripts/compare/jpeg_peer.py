"""A Python peer of `jpeg` and `jpeg-quality`: pyvips, Pillow or simplejpeg (libjpeg-turbo by its own interface). Argument: which.

Orders on standard input, one a line, fields parted by tabs; files are read once and kept, so what is timed is bytes in memory to
bytes (or pixels) in memory, by this program's own clock. Answers: `ok NANOSECONDS WIDTH HEIGHT` or `error TEXT`; to `version`
`ok 0` and the versions. Everything runs in one thread: VIPS_CONCURRENCY=1 and one core are set by who starts it.
"""
import io
import pathlib
import sys
import time

files = {}


def read(path):
    if path not in files:
        files[path] = pathlib.Path(path).read_bytes()
    return files[path]


def timed(work):
    start = time.perf_counter_ns()
    width, height = work()
    return f"{time.perf_counter_ns() - start}\t{width}\t{height}"


def vips_orders():
    import pyvips
    pyvips.cache_set_max(0)  # otherwise the second round would be answered from memory

    def whole(path, box):
        data = read(path)

        def work():
            small = pyvips.Image.thumbnail_buffer(data, int(box), height=int(box))
            small.jpegsave_buffer(Q=80)
            return small.width, small.height
        return timed(work)

    def pixels(path, width, height, out):
        data = read(path)

        def work():
            small = pyvips.Image.thumbnail_buffer(data, int(width), height=int(height), size="force").copy_memory()
            small.pngsave(out, compression=1, keep="none")
            return small.width, small.height
        return timed(work)

    def reference(path, width, height, out):
        """The whole picture decoded, then Lanczos3 in one step."""
        data = read(path)

        def work():
            full = pyvips.Image.new_from_buffer(data, "").copy_memory()
            small = full.resize(int(width) / full.width, vscale=int(height) / full.height, kernel="lanczos3", gap=0)
            small.pngsave(out, compression=1, keep="none")
            return small.width, small.height
        return timed(work)

    def version():
        return f"0\tpyvips {pyvips.__version__}, libvips {'.'.join(str(pyvips.version(i)) for i in range(3))}"
    return {"whole": whole, "pixels": pixels, "reference": reference, "version": version}


def pillow_orders():
    import PIL
    from PIL import Image, features
    Image.MAX_IMAGE_PIXELS = None

    def whole(path, box):
        data = read(path)

        def work():
            image = Image.open(io.BytesIO(data))
            image.thumbnail((int(box), int(box)), Image.LANCZOS)  # by `draft` to twice the size
            image.save(io.BytesIO(), "JPEG", quality=80)
            return image.size
        return timed(work)

    def pixels(path, width, height, out):
        data = read(path)

        def work():
            image = Image.open(io.BytesIO(data))
            image.draft("RGB", (2 * int(width), 2 * int(height)))
            small = image.resize((int(width), int(height)), Image.LANCZOS, reducing_gap=2.0)
            small.save(out, "PNG", compress_level=1, icc_profile=None)
            return small.size
        return timed(work)

    def decode(path, eighths):
        data = read(path)

        def work():
            image = Image.open(io.BytesIO(data))
            if int(eighths) < 8:
                image.draft("RGB", tuple(side * int(eighths) // 8 for side in image.size))
            image.load()
            return image.size
        return timed(work)

    def save(source, out, kind):
        """Any picture as a JPEG like a good camera's or converter's: quality 92, 4:2:0."""
        def work():
            image = Image.open(source).convert("RGB")
            image.save(out, "JPEG", quality=92, subsampling="4:2:0", progressive=kind == "progressive", optimize=kind == "progressive", icc_profile=None)
            return image.size
        return timed(work)

    def version():
        return f"0\tPillow {PIL.__version__}, libjpeg-turbo {features.version('jpg')}"
    return {"whole": whole, "pixels": pixels, "decode": decode, "save": save, "version": version}


def simplejpeg_orders():
    import importlib.metadata
    import simplejpeg

    def decode(path, eighths):
        data = read(path)
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        least = [-(-side * int(eighths) // 8) for side in (height, width)]

        def work():
            shape = simplejpeg.decode_jpeg(data, "RGB", min_height=least[0], min_width=least[1], min_factor=1).shape
            if list(shape[:2]) != least:
                raise ValueError(f"decoded to {shape}, wanted {least}")
            return shape[1], shape[0]
        return timed(work)

    def version():
        return f"0\tsimplejpeg {importlib.metadata.version('simplejpeg')}"
    return {"decode": decode, "version": version}


def main():
    orders = {"pyvips": vips_orders, "pillow": pillow_orders, "simplejpeg": simplejpeg_orders}[sys.argv[1]]()
    for line in sys.stdin:
        name, *fields = line.rstrip("\n").split("\t")
        try:
            print("ok", orders[name](*fields), sep="\t", flush=True)
        except Exception as error:  # noqa: BLE001 (whatever it is, the one who asked says so and stops)
            print("error", f"{type(error).__name__}: {error}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
