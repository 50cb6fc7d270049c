"""Upload peer: FastAPI's `UploadFile`, copied to its place with `shutil.copyfileobj`, in a thread as for every `def` route.

Starlette has by then parsed the form (python-multipart) and spooled files above 1 MiB to TMPDIR.
  OUT=/tmp/out uvicorn upload_fastapi:app --port 7012 --workers 2
"""
import shutil
from typing import List

from fastapi import FastAPI, UploadFile
from fastapi.responses import JSONResponse

from peer_files import FSYNC, fresh_path, sync

app = FastAPI()


@app.post("/v1/images")
def upload(file: List[UploadFile]):
    paths = [fresh_path() for _ in file]
    for one, path in zip(file, paths):
        with open(path, "wb") as out:
            shutil.copyfileobj(one.file, out, 1 << 20)
    if FSYNC:
        sync(paths)
    return JSONResponse({"files": [{"name": one.filename, "bytes": one.size} for one in file]}, status_code=202)
