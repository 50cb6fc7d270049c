"""What the Python upload peers share: a fresh path below OUT, and the optional sync before the answer (FSYNC=1)."""
import os
import uuid

OUT = os.environ.get("OUT", "/tmp/peer-out")
FSYNC = os.environ.get("FSYNC") == "1"
os.makedirs(OUT, exist_ok=True)


def fresh_path():
    return os.path.join(OUT, uuid.uuid4().hex)


def sync(paths):
    """Files first, then the folder that names them: what it takes for an answer to survive a power cut."""
    for path in [*paths, OUT]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
