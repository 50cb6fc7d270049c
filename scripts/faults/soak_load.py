"""The mixed load of scripts/soak: clients good, bad, slow and rude, and what was acknowledged to them.

Every client is a thread with a random source of its own. What a client was told it keeps in `Memory`, against which the
service is checked after each kill. Knows the HTTP contract, nothing of the service's insides.
"""
import hashlib
import os
import threading
import time

import common
from wire import BOUNDARY, FORM, Wire, chunked, cut, file_part, form, head, text_part

KIB, MIB = 1 << 10, 1 << 20


class Memory:
    """What the service promised: {image id: (upload id, sha256, bytes)}; and how long it took."""

    def __init__(self):
        self.lock, self.images, self.latencies, self.counts, self.wrong, self.can_delete = threading.Lock(), {}, [], {}, [], None

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)

    def keep(self, told, sent):
        """Remember a 202: every file sent must be among the images, under the sha256 it has."""
        with self.lock:
            for image in told["images"]:
                if image["sha256"] not in sent:
                    self.wrong.append(f"image {image['id']}: a sha256 that was not sent")
                self.images[image["id"]] = (told["id"], image["sha256"], image["bytes"])
            if len(told["images"]) != len(sent):
                self.wrong.append(f"upload {told['id']}: {len(told['images'])} images of {len(sent)} good files")

    def some(self, rng):
        with self.lock:
            return rng.choice(list(self.images.items())) if self.images else None

    def forget(self, upload):
        with self.lock:
            self.images = {k: v for k, v in self.images.items() if v[0] != upload}


class Client(threading.Thread):
    """One client: picks what to do, does it, rests a little; idle while `gate` is closed."""

    KINDS = (("small", 24), ("medium", 6), ("photo", 8), ("put", 8), ("several", 6), ("chunks", 4), ("no_image", 6), ("broken", 6), ("truncated", 3), ("abort", 10),
             ("slow", 2), ("poll", 14), ("fetch", 16), ("ranged", 10), ("delete", 6))

    def __init__(self, server, rng, memory, photos, gate, stop):
        super().__init__(daemon=True)
        self.server, self.rng, self.memory, self.photos, self.gate, self.stop = server, rng, memory, photos, gate, stop

    def run(self):
        names, weights = zip(*self.KINDS)
        while not self.stop.is_set():
            self.gate.wait()
            kind = self.rng.choices(names, weights)[0]
            try:
                getattr(self, kind)()
                self.memory.count(kind)
            except OSError:
                self.memory.count("connection lost")  # the service was killed, or is not back
                time.sleep(0.1)
            except Exception as e:  # a client that breaks must be seen
                self.memory.complain(f"{kind}: {type(e).__name__}: {e}")
            time.sleep(self.rng.random() * 0.08)

    # --- the parts of it ---

    def exchange(self, pieces, **how):
        with Wire((self.server.host, self.server.port), 60) as w:
            answer = w.exchange(pieces, **how)
        if answer.status is None:
            raise ConnectionError(answer.error)
        if answer.status >= 500:
            self.memory.complain(f"{answer}: {answer.body[:120]!r}")
        return answer

    def get(self, path, fields=()):
        return self.exchange([head("GET", path, fields)])

    def png(self, low, high):
        return b"".join(common.png_pieces(self.rng.randrange(low, high), os.urandom(16)))

    def send(self, body, good, timed=True, expected=(202,), te=False, pause_s=0):
        """A form: what is answered must be as expected; a 202 is kept."""
        begun = time.monotonic()
        fields = [("Content-Type", FORM), ("Transfer-Encoding", "chunked") if te else ("Content-Length", str(len(body)))]
        pieces = chunked(cut(body, 5000)) if te else cut(body, 2000) if pause_s else [body]
        answer = self.exchange([head("POST", "/v1/images", fields), *pieces], pause_s=pause_s)
        if answer.status not in expected:
            self.memory.complain(f"{answer} where {expected} is right: {answer.body[:120]!r}")
        elif answer.status == 202:
            self.memory.keep(answer.json(), {hashlib.sha256(g).hexdigest() for g in good})
            if timed:
                with self.memory.lock:
                    self.memory.latencies.append((begun, (time.monotonic() - begun) * 1000))

    # --- what clients do ---

    def small(self):
        image = self.png(1 * KIB, 30 * KIB)
        self.send(form([file_part(image)]), [image])

    def medium(self):
        image = self.png(200 * KIB, 2 * MIB)
        self.send(form([file_part(image), text_part("variant", "m=rs:fit:64:64/f:webp")]), [image], timed=False)

    def photo(self):
        image = common.tagged(self.rng.choice(self.photos), os.urandom(16))
        self.send(form([text_part("variant", v) for v in common.TWO_THUMBS] + [file_part(image, "photo.jpg")]), [image], timed=False)

    def put(self):
        image = self.png(1 * KIB, 100 * KIB)
        answer = self.exchange([head("PUT", "/v1/images/put.png", [("Content-Length", str(len(image)))]), image])
        if answer.status == 202:
            self.memory.keep(answer.json(), {hashlib.sha256(image).hexdigest()})

    def several(self):
        good = [self.png(1 * KIB, 50 * KIB) for _ in range(self.rng.randrange(2, 6))]
        parts = [file_part(g, f"{i}.png") for i, g in enumerate(good)]
        parts.insert(self.rng.randrange(len(parts)), file_part(b"no image " * self.rng.randrange(1, 5000), "bad.txt"))
        self.send(form(parts), good, timed=False)

    def chunks(self):
        image = self.png(1 * KIB, 60 * KIB)
        self.send(form([file_part(image)]), [image], timed=False, te=True)

    def no_image(self):
        self.send(form([file_part(os.urandom(self.rng.randrange(1, 200 * KIB)))]), [], expected=(415,))

    def broken(self):
        whole = form([file_part(self.png(2 * KIB, 20 * KIB))])
        way = self.rng.randrange(3)
        body = whole[:self.rng.randrange(len(whole) - len(BOUNDARY) - 8)] if way == 0 else whole.replace(b"Content-Disposition", b"Content", 1) if way == 1 else b"x" * 1000 + whole[2:]
        self.send(body, [], expected=(400,))

    def truncated(self):
        photo = common.tagged(self.rng.choice(self.photos), os.urandom(16))
        cut_off = photo[:self.rng.randrange(len(photo) // 2, len(photo))]
        self.send(form([file_part(cut_off, "cut.jpg")]), [cut_off], timed=False, expected=(202, 422))

    def abort(self):
        body = form([file_part(self.png(20 * KIB, 500 * KIB))])
        with Wire((self.server.host, self.server.port), 60) as w:
            w.send(head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", str(len(body)))]) + body[:self.rng.randrange(len(body))])
            time.sleep(self.rng.random() * 0.05)
            if self.rng.random() < 0.5:
                w.abort()

    def slow(self):
        image = self.png(40 * KIB, 60 * KIB)
        self.send(form([file_part(image)]), [image], timed=False, pause_s=0.1)

    def poll(self):
        one = self.memory.some(self.rng)
        if one:
            self.get(f"/v1/uploads/{one[1][0]}" + self.rng.choice(("", "?wait=1")))

    def fetch(self):
        one = self.memory.some(self.rng)
        if one:
            answer = self.get(f"/i/{one[0]}")
            if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() != one[1][1]:
                self.memory.complain(f"image {one[0]}: other bytes than were acknowledged")

    def ranged(self):
        one = self.memory.some(self.rng)
        if one:
            n = one[1][2]
            a = self.rng.randrange(n)
            answer = self.get(f"/i/{one[0]}", [("Range", f"bytes={a}-{self.rng.randrange(a, n)}")])
            if answer.status not in (206, 404):  # 404: deleted by another client meanwhile
                self.memory.complain(f"a range of {one[0]}: {answer}")

    def delete(self):
        one = self.memory.some(self.rng)
        if not one or self.memory.can_delete is False:
            return
        upload = one[1][0]
        if self.memory.can_delete is None:
            answer = self.exchange([head("DELETE", "/v1/uploads/01980000-0000-7000-8000-000000000000", [])])
            self.memory.can_delete = answer.status != 405
            return
        self.memory.forget(upload)  # from now on it may be gone, whatever the answer
        answer = self.exchange([head("DELETE", f"/v1/uploads/{upload}", [])])
        if answer.status not in (204, 404):
            self.memory.complain(f"DELETE: {answer}")


def check(server, memory):
    """Fetch every image that was acknowledged: how many there are; what is missing or changed is complained of."""
    with memory.lock:
        promised = list(memory.images.items())
    connection = common.Connection(server.host, server.port)
    for image, (_, sha, _) in promised:
        try:
            code, body = connection.roundtrip(common.request("GET", f"/i/{image}", server.host))
        except OSError as e:
            code, body = str(e), b""
            connection.close()
        if code != 200 or hashlib.sha256(body).hexdigest() != sha:
            memory.complain(f"image {image} was acknowledged and is {'changed' if code == 200 else f'answered {code}'}")
    connection.close()
    return len(promised)
