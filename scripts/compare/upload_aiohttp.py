"""Upload peer: aiohttp's streaming multipart reader, chunk by chunk to a file ("File Uploads" in its server guide).

As there, the file is written on the event loop; chunks of 256 KiB, the fastest of 8, 64 and 256 KiB (8 is the default).
  OUT=/tmp/out PORT=7011 WORKERS=2 python upload_aiohttp.py
"""
import asyncio
import os
import socket

import uvloop
from aiohttp import web

from peer_files import FSYNC, fresh_path, sync


async def upload(request):
    files, paths = [], []
    async for part in await request.multipart():
        if part.filename is None:
            await part.release()
            continue
        path, size = fresh_path(), 0
        with open(path, "wb") as out:
            while chunk := await part.read_chunk(1 << 18):
                size += len(chunk)
                out.write(chunk)
        paths.append(path)
        files.append({"name": part.filename, "bytes": size})
    if FSYNC:
        await asyncio.to_thread(sync, paths)
    return web.json_response({"files": files}, status=202)


def main():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ.get("PORT", "7011"))))
    for _ in range(int(os.environ.get("WORKERS", "1")) - 1):
        if os.fork() == 0:
            break
    app = web.Application()
    app.add_routes([web.post("/v1/images", upload)])
    web.run_app(app, sock=listener, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
