"""A web service that names what is in an image.

    pip install starlette uvicorn
    uvicorn service:app
    curl --data-binary @photo.jpg http://127.0.0.1:8000/classify

NPRESNET_WEIGHTS names a file of weights; without it the network that comes with npresnet answers.
"""

import asyncio
import io
import os
from contextlib import asynccontextmanager

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import npresnet
from npresnet.data import ImageError

LIMIT = 10 * 2**20  # bytes of an upload
BATCH = 8  # images that are computed together
TOP = 5  # classes in an answer

model = npresnet.load_model(os.environ.get("NPRESNET_WEIGHTS"))
engine = npresnet.optimize(model)


async def classify(request: Request) -> JSONResponse:
    """The most probable classes of the image in the request's body."""
    body = io.BytesIO()
    async for chunk in request.stream():
        body.write(chunk)
        if body.tell() > LIMIT:
            return JSONResponse({"error": f"an image may have {LIMIT} bytes"}, 413)
    body.seek(0)
    try:
        x = await run_in_threadpool(npresnet.preprocess, body, model)
    except ImageError as error:
        return JSONResponse({"error": str(error)}, 400)
    answer = asyncio.get_running_loop().create_future()
    await request.app.state.waiting.put((x, answer))
    return JSONResponse({"predictions": best(await answer)})


def best(scores: np.ndarray) -> list[dict]:
    """The classes of the highest scores, with their probabilities."""
    p = np.exp(scores - scores.max())
    p /= p.sum()
    names = model.classes or range(len(p))
    return [{"class": int(k), "name": str(names[k]), "probability": float(p[k])} for k in np.argsort(-p)[:TOP]]


async def compute(waiting: asyncio.Queue) -> None:
    """Compute for those who wait, up to BATCH at a time, while the next ones queue up."""
    while True:
        jobs = [await waiting.get()]
        while len(jobs) < BATCH and not waiting.empty():
            jobs.append(waiting.get_nowait())
        try:
            scores = await run_in_threadpool(engine.logits, np.concatenate([x for x, _ in jobs]))
        except Exception as error:
            scores = [error] * len(jobs)
        for (_, answer), result in zip(jobs, scores):
            if answer.done():  # whoever asked has gone
                continue
            answer.set_exception(result) if isinstance(result, Exception) else answer.set_result(result)


async def health(request: Request) -> JSONResponse:
    return JSONResponse({"model": model.spec.name, "classes": model.spec.num_classes, "engine": repr(engine)})


@asynccontextmanager
async def lifespan(app: Starlette):
    """Compile before the first request, then answer requests until the service is stopped."""
    blank = np.zeros((64, 64, 3), np.uint8)
    await run_in_threadpool(engine, npresnet.preprocess([blank] * BATCH, model))
    app.state.waiting = asyncio.Queue()
    worker = asyncio.create_task(compute(app.state.waiting))
    yield
    worker.cancel()


app = Starlette(routes=[Route("/classify", classify, methods=["POST"]), Route("/health", health)], lifespan=lifespan)
