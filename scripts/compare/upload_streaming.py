"""Upload peer: FastAPI with streaming-form-data (a parser in C) writing straight to the file, as that library's guide shows.

  OUT=/tmp/out uvicorn upload_streaming:app --port 7013 --workers 2
"""
import asyncio
import os

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from streaming_form_data import StreamingFormDataParser
from streaming_form_data.targets import FileTarget, MultipleTargets

from peer_files import FSYNC, fresh_path, sync

app = FastAPI()


@app.post("/v1/images")
async def upload(request: Request):
    files = MultipleTargets(lambda: FileTarget(fresh_path()))
    parser = StreamingFormDataParser(headers=request.headers)
    parser.register("file", files)
    async for chunk in request.stream():
        parser.data_received(chunk)
    paths = [target.filename for target in files.targets]
    if FSYNC:
        await asyncio.to_thread(sync, paths)
    told = [{"name": target.multipart_filename, "bytes": os.path.getsize(target.filename)} for target in files.targets]
    return JSONResponse({"files": told}, status_code=202)
