"""The curve of a soak as SVG: four panels over one time axis, each with its unit; dashed lines where the service was killed.

The same samples give the same picture, byte for byte. Knows only the samples.
"""
WIDE, PANEL, LEFT, RIGHT, TOP, GAP = 900, 150, 64, 130, 46, 34
INK, PALE, COLOURS = "#24292f", "#d8dee4", ("#0969da", "#bc4c00")


def ceiling(value):
    """The next of 1, 2, 5 x 10^n that is not below."""
    step = 1.0
    while step * 10 <= value:
        step *= 10
    return next(step * m for m in (1, 2, 5, 10) if step * m >= value) if value > 1 else 1.0


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def series(samples, key, points=300):
    """(time, highest value) in at most `points` buckets."""
    step = max(1, -(-len(samples) // points))
    groups = (samples[i:i + step] for i in range(0, len(samples), step))
    for group in groups:
        values = [s[key] for s in group if s[key] is not None]
        if values:
            yield group[0]["t"], max(values)


def chart(samples, kills, title):
    """The SVG's text. Samples are dicts of t, rss_mib, fds, threads, staged, queued, p99_ms."""
    panels = (("resident memory, MiB", (("rss_mib", "resident"),)), ("descriptors and threads", (("fds", "descriptors"), ("threads", "threads"))),
              ("waiting", (("queued", "queued jobs"), ("staged", "staged files"))), ("202 of a small upload, ms", (("p99_ms", "p99 over 10 s"),)))
    end = max(1.0, samples[-1]["t"])
    high = TOP + len(panels) * (PANEL + GAP) + 14

    def x(t):
        return LEFT + (WIDE - LEFT - RIGHT) * t / end
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" font-family="sans-serif" font-size="12" fill="{INK}">',
           f'<rect width="{WIDE}" height="{high}" fill="#fff"/>', f'<text x="{LEFT}" y="22" font-size="15">{title}</text>']
    for n, (name, lines) in enumerate(panels):
        top = TOP + n * (PANEL + GAP)
        drawn = [(label, list(series(samples, key))) for key, label in lines]
        most = ceiling(max([v for _, line in drawn for _, v in line], default=1))
        out.append(f'<text x="{LEFT}" y="{top - 5}" font-weight="bold">{name}</text>')
        for i in range(5):
            y = top + PANEL * (1 - i / 4)
            out.append(f'<path d="M{LEFT} {y:.1f}H{WIDE - RIGHT}" stroke="{PALE}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(most * i / 4)}</text>')
        for t in kills:
            out.append(f'<path d="M{x(t):.1f} {top}v{PANEL}" stroke="#8c959f" stroke-dasharray="3 3"/>')
        for (label, line), colour in zip(drawn, COLOURS):
            points = " ".join(f"{x(t):.1f},{top + PANEL * (1 - v / most):.1f}" for t, v in line)
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        for i, (label, _) in enumerate(drawn):
            out.append(f'<text x="{WIDE - RIGHT + 8}" y="{top + 14 + 17 * i}" fill="{COLOURS[i]}">{label}</text>')
        unit, scale = ("min", 60) if end >= 180 else ("s", 1)
        for i in range(6):
            out.append(f'<text x="{x(end * i / 5):.1f}" y="{top + PANEL + 14}" text-anchor="middle" fill="#57606a">{number(round(end * i / 5 / scale, 1))} {unit}</text>')
    if kills:
        out.append(f'<text x="{WIDE - RIGHT + 8}" y="{TOP + 48}" fill="#57606a">dashed: kill -9</text>')
    return "\n".join(out) + "\n</svg>\n"
