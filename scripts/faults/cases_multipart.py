"""Multipart framing, B1-B30: what is broken is refused, what is whole is kept to the byte, and both cost linear time."""
from harness import case


@case("B1", "POST without Content-Type", expected="415", quick=True)
def no_content_type(c):
    c.statuses({"form": c.post(c.png(), content_type=None), "empty": c.post(b"", content_type=None)}, 415)
