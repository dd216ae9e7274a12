"""An example of a server: pictures in by HTTP, detections out as JSON, by FastAPI.

``POST /detect`` takes the bytes of one image file; ``GET /health`` says that the process lives
and how much waits, ``GET /ready`` whether it takes requests, ``GET /model`` what it serves.
Answers: 200; 400 what is no image; 413 more bytes or pixels than allowed; 503 with
``Retry-After`` when too many wait. Nothing is written to disk.
"""
import asyncio
import io
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, AsyncIterator, Dict, Optional

import numpy as np

from mmyolonas.inference.batching import Batcher, BatchingOptions, Overloaded
from mmyolonas.runtime.result import RuntimeResult
from mmyolonas.runtime.runtime import Runtime
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.optional import require


@dataclass
class ServerOptions:
    """What a server allows.

    Args:
        max_bytes (int): Bytes of an upload, at most. Defaults to 10 MiB.
        max_pixels (int): Pixels of an image, at most. Defaults to 25 million.
        score_threshold (float): Detections below are not sent. Defaults to 0.25.
        batching (BatchingOptions): How requests wait for each other.
    """
    max_bytes: int = 10 << 20
    max_pixels: int = 25_000_000
    score_threshold: float = 0.25
    batching: BatchingOptions = field(default_factory=BatchingOptions)

    def __post_init__(self) -> None:
        for name in ('max_bytes', 'max_pixels'):
            if getattr(self, name) < 1:
                raise UserError(f'{name} must be at least 1, got {getattr(self, name)}.')
        if not 0 <= self.score_threshold <= 1:
            raise UserError('score_threshold must lie within 0 and 1, got '
                            f'{self.score_threshold}.')


class TooLarge(ValueError):
    """An upload of more bytes or pixels than allowed."""


def decode(data: bytes, max_pixels: int) -> np.ndarray:
    """Return an image file's pixels, after a look at its size.

    Args:
        data (bytes): Content of the file.
        max_pixels (int): Width times height, at most.

    Returns:
        ndarray: (H, W, 3) BGR, uint8.

    Raises:
        TooLarge: It has more pixels.
        ValueError: It is no image.
    """
    cv2 = require('cv2', 'Serving')
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data)) as header:  # reads no pixels
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise TooLarge(str(error)) from error
    except Exception as error:  # Pillow's readers raise anything on damaged files
        raise ValueError('this is no image that can be read; send the bytes of a JPEG or PNG '
                         'file as the body') from error
    if width * height > max_pixels:
        raise TooLarge(f'the image has {width} x {height} pixels, allowed are {max_pixels}')
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError('this image is damaged or of a kind that OpenCV does not read; send a '
                         'JPEG or PNG file')
    return image


def as_json(result: RuntimeResult) -> Dict[str, Any]:
    """Return detections as JSON has them.

    Args:
        result (RuntimeResult): What was found.
    """
    found = []
    for index, name in enumerate(result.names):
        item: Dict[str, Any] = dict(
            box=[round(float(value), 2) for value in result.boxes[index]],
            score=round(float(result.scores[index]), 4), label=int(result.labels[index]),
            name=name)
        if result.keypoints is not None and result.keypoint_scores is not None:
            item['keypoints'] = [
                [round(float(x), 2), round(float(y), 2), round(float(score), 4)]
                for (x, y), score in zip(result.keypoints[index], result.keypoint_scores[index])]
        found.append(item)
    return dict(image_size=list(result.image_size), detections=found)


async def read_body(request: Any, limit: int) -> bytes:
    """Return a request's body; stop reading where it is longer than allowed.

    Args:
        request (Request): Starlette's.
        limit (int): Bytes, at most.

    Raises:
        TooLarge: It is longer.
    """
    told = request.headers.get('content-length', '')
    if told.isdigit() and int(told) > limit:
        raise TooLarge(f'the upload has {told} bytes, allowed are {limit}')
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f'the upload has more than {limit} bytes')
        parts.append(part)
    return b''.join(parts)


def build_app(runtime: Runtime, options: Optional[ServerOptions] = None) -> Any:
    """Return an ASGI application, for uvicorn and others.

    Args:
        runtime (Runtime): Model; closed when the application ends.
        options (ServerOptions, optional): Limits.

    Returns:
        fastapi.FastAPI: The application.

    Raises:
        ImportError: fastapi is not installed.
    """
    fastapi = require('fastapi', 'Serving')
    options = options or ServerOptions()
    batcher = Batcher(runtime.predict, options.batching)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await batcher.start()
        yield
        await batcher.stop()
        runtime.close()

    app = fastapi.FastAPI(title='mmyolonas', lifespan=lifespan)
    answer = fastapi.responses.JSONResponse

    def refuse(status: int, reason: object, **headers: str) -> Any:
        return answer(dict(error=str(reason)), status, headers or None)

    async def detect(request: Any) -> Any:
        """Detect in one image."""
        try:
            batcher.check()  # before the upload is read
            data = await read_body(request, options.max_bytes)
            batcher.check()  # before it is decoded
            image = await asyncio.get_running_loop().run_in_executor(
                None, decode, data, options.max_pixels)
            result = await batcher(image)
        except Overloaded as error:
            return refuse(503, error, **{'Retry-After': str(error.seconds)})
        except TooLarge as error:
            return refuse(413, error, Connection='close')
        except ValueError as error:
            return refuse(400, error)
        return answer(as_json(result.above(options.score_threshold)))

    detect.__annotations__['request'] = fastapi.Request  # known only where it is installed
    app.post('/detect')(detect)
    _add_questions(app, runtime, batcher, options, refuse)
    return app


def _add_questions(app: Any, runtime: Runtime, batcher: Batcher, options: ServerOptions,
                   refuse: Any) -> None:
    """Add what a load balancer and a client ask."""

    @app.get('/health')
    async def health() -> dict:
        return dict(status='ok', waiting=batcher.waiting, batches=batcher.batches,
                    images=batcher.items)

    @app.get('/ready')
    async def ready() -> Any:
        try:
            batcher.check()
        except Overloaded as error:
            return refuse(503, error, **{'Retry-After': str(error.seconds)})
        return dict(status='ready')

    @app.get('/model')
    async def model() -> dict:
        meta = runtime.metadata
        return dict(task=meta.task, classes=meta.class_names, input_size=meta.input_size,
                    keypoints=meta.keypoint_names, backend=runtime.session.backend,
                    limits=asdict(options))
