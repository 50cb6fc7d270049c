"""A Python peer of `variants`, `all` and `jpeg-quality --encoded`: pyvips or Pillow. Argument: which.

Orders on standard input, one a line, fields parted by tabs; files are read once and kept, so what is timed is bytes in memory to bytes
in memory, by this program's own clock. `make PATH HOW OUT TASK...` is answered by `ok NANOSECONDS` and `WIDTHxHEIGHT:BYTES` of each
result, or `error TEXT`; OUT is a folder for the results (`0.jpg` ...) or `-`. A task is `SIZE:FORMAT[:blur=SIGMA][:sharpen=SIGMA][:gray]`:
SIZE a box to fit into, `WIDTHxHEIGHT`, or 0 for the source's; JPEG and WebP of quality 80, AVIF of 50, all else as the library has it.
HOW: `each` from the file, `animated`, the same with all frames (pyvips), or `once`, the largest from the file and the others from its pixels (Pillow: from the picture its `draft` decoded).
Everything runs in one thread: VIPS_CONCURRENCY=1 and one core are set by who starts it.
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


class Task:
    def __init__(self, text):
        size, self.format, *more = text.split(":")
        self.sides = tuple(map(int, size.split("x"))) if "x" in size else None
        self.box = None if self.sides or size == "0" else int(size)
        self.whole = size == "0"
        self.blur = next((float(m.partition("=")[2]) for m in more if m.startswith("blur=")), None)
        self.sharpen = next((float(m.partition("=")[2]) for m in more if m.startswith("sharpen=")), None)
        self.gray = "gray" in more
        if any(m != "gray" and not m.startswith(("blur=", "sharpen=")) for m in more) or self.format not in ("jpg", "png", "webp", "avif", "gif"):
            raise ValueError(f"{text} is no task")

    def largest(self):
        return max(self.sides or (self.box or 0,))


def answered(make, path, how, out, tasks):
    """Times `make`, then writes what it made."""
    data, tasks = read(path), [Task(text) for text in tasks]
    start = time.perf_counter_ns()
    made = make(data, how, tasks)
    took = time.perf_counter_ns() - start
    for index, (task, (_, encoded)) in enumerate(zip(tasks, made)):
        if out != "-":
            (pathlib.Path(out) / f"{index}.{task.format}").write_bytes(encoded)
    return "\t".join([str(took), *(f"{width}x{height}:{len(encoded)}" for (width, height), encoded in made)])


def vips_orders():
    import pyvips
    pyvips.cache_set_max(0)  # otherwise the second round would be answered from memory

    def encoded(image, task):
        if task.blur:
            image = image.gaussblur(task.blur)
        if task.sharpen:
            image = image.sharpen(sigma=task.sharpen)
        if task.gray:
            image = image.colourspace("b-w")
        if task.format == "jpg":
            bytes_ = image.jpegsave_buffer(Q=80, keep="none")
        elif task.format == "webp":
            bytes_ = image.webpsave_buffer(Q=80, keep="none")
        elif task.format == "avif":
            bytes_ = image.heifsave_buffer(Q=50, compression="av1", keep="none")
        elif task.format == "gif":
            bytes_ = image.gifsave_buffer(keep="none")
        else:
            bytes_ = image.pngsave_buffer(keep="none")
        height = image.get("page-height") if image.get_typeof("page-height") else image.height
        return (image.width, height), bytes_

    def from_file(data, task, options=""):
        if task.whole:
            return pyvips.Image.new_from_buffer(data, options)
        more = {"option_string": options} if options else {}
        if task.sides:
            return pyvips.Image.thumbnail_buffer(data, task.sides[0], height=task.sides[1], size="force", **more)
        return pyvips.Image.thumbnail_buffer(data, task.box, height=task.box, size="down", **more)

    def from_pixels(image, task):
        if task.sides:
            return image.thumbnail_image(task.sides[0], height=task.sides[1], size="force")
        return image.thumbnail_image(task.box, height=task.box, size="down")

    def make(data, how, tasks):
        if how in ("each", "animated"):
            return [encoded(from_file(data, task, "n=-1" if how == "animated" else ""), task) for task in tasks]
        largest = from_file(data, max(tasks, key=Task.largest)).copy_memory()
        return [encoded(from_pixels(largest, task), task) for task in tasks]

    return make, f"pyvips {pyvips.__version__}, libvips {'.'.join(str(pyvips.version(i)) for i in range(3))}"


def pillow_orders():
    import PIL
    from PIL import Image, ImageFilter, features
    Image.MAX_IMAGE_PIXELS = None

    def fit(size, box):
        scale = min(1, box / max(size))
        return tuple(max(1, round(side * scale)) for side in size)

    def opened(data, draft_to=None):
        image = Image.open(io.BytesIO(data))
        if draft_to:
            image.draft("RGB", tuple(2 * side for side in draft_to(image.size)))  # as `thumbnail` has it
        return image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGB")

    def encoded(image, task):
        if task.blur:
            image = image.filter(ImageFilter.GaussianBlur(task.blur))
        if task.gray:
            image = image.convert("L")
        file = io.BytesIO()
        if task.format == "jpg":
            (image if image.mode in ("RGB", "L") else image.convert("RGB")).save(file, "JPEG", quality=80, icc_profile=None)
        elif task.format == "webp":
            image.save(file, "WEBP", quality=80, icc_profile=b"")
        elif task.format == "avif":
            image.save(file, "AVIF", quality=50, max_threads=1, icc_profile=b"")
        elif task.format == "gif":
            image.save(file, "GIF")
        else:
            image.save(file, "PNG", icc_profile=None)
        return image.size, file.getvalue()

    def from_file(data, task):
        if task.whole:
            return opened(data)
        if task.sides:
            return opened(data, lambda _: task.sides).resize(task.sides, Image.LANCZOS, reducing_gap=2.0)
        image = Image.open(io.BytesIO(data))
        if image.mode not in ("RGB", "RGBA", "L"):
            image = image.convert("RGB")  # palettes are otherwise not interpolated
        image.thumbnail((task.box, task.box), Image.LANCZOS)  # by `draft` to twice the size
        return image

    def make(data, how, tasks):
        if how == "each":
            return [encoded(from_file(data, task), task) for task in tasks]
        largest = max(task.largest() for task in tasks)
        image = opened(data, lambda size: fit(size, largest))
        full = Image.open(io.BytesIO(data)).size
        return [encoded(image.resize(task.sides or fit(full, task.box), Image.LANCZOS, reducing_gap=2.0), task) for task in tasks]

    def save(source, out, kind):
        """Any picture as another file; KIND is FORMAT or FORMAT@WIDTH. JPEGs of quality 90 and 4:2:0, lossy WebP of 90."""
        kind, _, width = kind.partition("@")
        image = Image.open(source).convert("RGB")
        if width:
            image = image.resize((int(width), round(image.height * int(width) / image.width)), Image.LANCZOS)
        how = {
            "baseline": ("JPEG", dict(quality=90, subsampling="4:2:0", icc_profile=None)),
            "progressive": ("JPEG", dict(quality=90, subsampling="4:2:0", progressive=True, icc_profile=None)),
            "png": ("PNG", dict(icc_profile=None)),
            "png-stored": ("PNG", dict(compress_level=0, icc_profile=None)),
            "webp": ("WEBP", dict(quality=90, icc_profile=b"")),
            "webp-lossless": ("WEBP", dict(lossless=True, method=2, quality=50, icc_profile=b"")),
            "gif": ("GIF", {}),
            "avif": ("AVIF", dict(quality=70, speed=8)),
            "tiff": ("TIFF", dict(compression="tiff_adobe_deflate")),
        }
        name, options = how[kind]
        image.save(out, name, **options)
        return f"0\t{image.width}\t{image.height}"

    def graphics(out, width, height):
        """Flat colours with sharp edges and small letters, as a screen has them: windows, lines of text, a table, a chart."""
        import random
        from PIL import ImageDraw
        chance, width, height = random.Random(5), int(width), int(height)
        image = Image.new("RGB", (width, height), (238, 240, 243))
        draw = ImageDraw.Draw(image)
        flat = [(255, 255, 255), (250, 250, 250), (33, 37, 41), (13, 110, 253), (25, 135, 84), (220, 53, 69), (255, 193, 7), (108, 117, 125)]
        letters = "abcdefghijklmnopqrstuvwxyz     0123456789.,-"
        for _ in range(14):
            x, y = chance.randrange(width - width // 4), chance.randrange(height - height // 4)
            right, bottom = x + width // 5 + chance.randrange(width // 5), y + height // 5 + chance.randrange(height // 5)
            draw.rectangle((x, y, right, bottom), fill=chance.choice(flat[:3]), outline=(173, 181, 189))
            draw.rectangle((x, y, right, y + 28), fill=chance.choice(flat[3:]))
            kind = chance.randrange(3)
            for row in range(y + 40, bottom - 20, 18):
                if kind == 0:
                    draw.text((x + 12, row), "".join(chance.choices(letters, k=(right - x) // 8)), fill=chance.choice(flat[2:6]))
                elif kind == 1:
                    draw.rectangle((x + 12, row, x + 12 + chance.randrange(right - x - 24), row + 12), fill=chance.choice(flat[3:]))
                else:
                    draw.line((x + 12, row, right - 12, row), fill=(222, 226, 230))
                    for column in range(x + 12, right - 80, 90):
                        draw.text((column, row + 3), f"{chance.random() * 1000:.2f}", fill=flat[2])
        image.save(out, "PNG")
        return f"0\t{width}\t{height}"

    def pixels(source, out):
        """Any picture as an 8-bit RGB PNG."""
        image = Image.open(source).convert("RGB")
        image.save(out, "PNG", compress_level=1, icc_profile=None)
        return f"0\t{image.width}\t{image.height}"

    def reference(path, width, height, out):
        """The whole picture decoded, then Lanczos3 in one step."""
        small = Image.open(path).convert("RGB").resize((int(width), int(height)), Image.LANCZOS)
        small.save(out, "PNG", compress_level=1, icc_profile=None)
        return f"0\t{width}\t{height}"

    def size(path):
        return "0\t{}\t{}".format(*Image.open(path).size)

    def version():
        return f"0\tPillow {PIL.__version__}, libjpeg-turbo {features.version('jpg')}"
    return make, None, {"save": save, "graphics": graphics, "pixels": pixels, "size": size, "reference": reference, "version": version}


def main():
    make, version, *more = {"pyvips": vips_orders, "pillow": pillow_orders}[sys.argv[1]]()
    orders = {"make": lambda path, how, out, *tasks: answered(make, path, how, out, tasks), "version": lambda: f"0\t{version}", **(more[0] if more else {})}
    for line in sys.stdin:
        name, *fields = line.rstrip("\n").split("\t")
        try:
            print("ok", orders[name](*fields), sep="\t", flush=True)
        except Exception as error:  # noqa: BLE001 (whatever it is, the one who asked says so and stops)
            print("error", f"{type(error).__name__}: {error}".replace("\n", " "), sep="\t", flush=True)


if __name__ == "__main__":
    main()
