"""Upload peer: Sanic's `request.files`, its documented way to files of a form: the whole body is held in memory.

(Its request streaming gives the raw body and has no parser for forms.)
  OUT=/tmp/out sanic upload_sanic:app --port 7014 --workers 2
"""
import asyncio
import pathlib

from sanic import Sanic
from sanic.response import json

from peer_files import FSYNC, fresh_path, sync

app = Sanic("upload_peer")
app.config.REQUEST_MAX_SIZE = 4 << 30


@app.post("/v1/images")
async def upload(request):
    files = request.files.getlist("file")
    paths = [fresh_path() for _ in files]

    def write():
        for one, path in zip(files, paths):
            pathlib.Path(path).write_bytes(one.body)
        if FSYNC:
            sync(paths)

    await asyncio.to_thread(write)
    return json({"files": [{"name": one.name, "bytes": len(one.body)} for one in files]}, status=202)
