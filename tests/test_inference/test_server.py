"""The example server: every request is answered, whatever is sent and how much of it."""
import asyncio
import json
import threading
import time

import cv2
import numpy as np
import pytest

from mmyolonas.inference.batching import Batcher, BatchingOptions, Overloaded
from mmyolonas.inference.server import ServerOptions, TooLarge, build_app, decode
from mmyolonas.runtime.runtime import Runtime
from mmyolonas.utils.errors import UserError


def run(main):
    return asyncio.run(asyncio.wait_for(main(), 20))


def test_requests_run_together_and_in_order():
    sizes = []

    def double(items):
        sizes.append(len(items))
        time.sleep(0.02)
        return [2 * item for item in items]

    async def main():
        batcher = Batcher(double, BatchingOptions(4, 0.05, 100))
        await batcher.start()
        found = await asyncio.gather(*(batcher(item) for item in range(10)))
        await batcher.stop()
        return found, batcher

    found, batcher = run(main)
    assert found == [2 * item for item in range(10)] and sizes == [4, 4, 2]
    assert (batcher.batches, batcher.items, batcher.waiting) == (3, 10, 0)


def test_too_many_are_turned_away_and_nothing_is_lost():
    gate = threading.Event()

    def wait(items):
        gate.wait(10)
        return items

    async def main():
        batcher = Batcher(wait, BatchingOptions(2, 0., 5))
        await batcher.start()
        tasks = [asyncio.create_task(batcher(item)) for item in range(8)]
        await asyncio.sleep(0.05)
        gate.set()
        await batcher.stop()  # what waits is finished
        found = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(Overloaded):
            await batcher(1)
        return found

    found = run(main)
    assert found[:5] == list(range(5))
    assert all(isinstance(error, Overloaded) and error.seconds >= 1 for error in found[5:])


def test_one_bad_item_spoils_no_other():
    def invert(items):
        return [1 / item for item in items]

    async def main():
        batcher = Batcher(invert, BatchingOptions(8, 0.05, 100))
        await batcher.start()
        found = await asyncio.gather(*map(batcher, (1, 0, 4)), return_exceptions=True)
        late = asyncio.create_task(batcher(2))
        await asyncio.sleep(0)
        late.cancel()  # its client has gone
        found.append(await batcher(5))
        await batcher.stop()
        return found, batcher.waiting

    found, waiting = run(main)
    assert found[0] == 1 and found[2:] == [0.25, 0.2] and waiting == 0
    assert isinstance(found[1], ZeroDivisionError)


def test_limits_are_numbers():
    for options in (dict(max_batch=0), dict(max_waiting=0), dict(max_delay=float('nan'))):
        with pytest.raises(UserError, match='must be at least'):
            BatchingOptions(**options)
    for options in (dict(max_bytes=0), dict(max_pixels=0), dict(score_threshold=2)):
        with pytest.raises(UserError):
            ServerOptions(**options)


def png(image):
    return cv2.imencode('.png', image)[1].tobytes()


def test_uploads_are_looked_at_before_they_are_decoded(image):
    assert (decode(png(image), 10**6) == image).all()
    with pytest.raises(TooLarge, match='100 x 80 pixels'):
        decode(png(image), 7999)
    bomb = png(np.zeros((3000, 3000), np.uint8))
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge):
        decode(bomb, 10**6)
    for data in (b'', b'nothing', png(image)[:60], b'\xff\xd8\xff' + bytes(100)):
        with pytest.raises(ValueError, match='JPEG or PNG'):
            decode(data, 10**6)


class Asgi:
    """Speaks to an application as a server does."""

    def __init__(self, app):
        self.app = app

    async def ask(self, method, path, parts=(), headers=()):
        """Return status, headers and JSON."""
        sent, parts = [], list(parts) or [b'']

        async def receive():
            body = parts.pop(0)
            return dict(type='http.request', body=body, more_body=bool(parts))

        async def send(message):
            sent.append(message)

        await self.app(dict(
            type='http', asgi=dict(version='3.0'), http_version='1.1', method=method, path=path,
            raw_path=path.encode(), query_string=b'', root_path='', scheme='http',
            headers=list(headers), client=('127.0.0.1', 1), server=('127.0.0.1', 2)),
            receive, send)
        body = b''.join(item.get('body', b'') for item in sent[1:])
        told = {key.decode().lower(): value.decode() for key, value in sent[0]['headers']}
        return sent[0]['status'], told, json.loads(body)


def test_the_server_answers(zoo, image):
    pytest.importorskip('fastapi')
    path = zoo.file('detection', 'onnx', 'batch')
    with Runtime(path) as runtime:
        expected = runtime(image)
    options = ServerOptions(max_bytes=50_000, score_threshold=0.3,
                            batching=BatchingOptions(4, 0.01, 3))

    async def main():
        app = build_app(Runtime(path, batch_size=4), options)
        ask = Asgi(app).ask
        async with app.router.lifespan_context(app):
            data = png(image)
            several = await asyncio.gather(*(
                ask('POST', '/detect', [data[:100], data[100:]]) for _ in range(3)))
            answers = dict(
                several=several, health=await ask('GET', '/health'),
                ready=await ask('GET', '/ready'), model=await ask('GET', '/model'),
                none=await ask('POST', '/detect', [b'text']),
                told=await ask('POST', '/detect', [b'x'], [(b'content-length', b'60000')]),
                long=await ask('POST', '/detect', [bytes(30_000), bytes(30_000)]),
                many=await asyncio.gather(*(ask('POST', '/detect', [data]) for _ in range(12))))
        return answers

    answers = run(main)
    kept = expected.above(0.3)
    for status, _, found in answers['several']:
        assert status == 200 and found['image_size'] == [100, 80]
        assert [item['name'] for item in found['detections']] == kept.names and kept.names
        assert np.allclose([item['box'] for item in found['detections']], kept.boxes, atol=0.02)
    assert answers['health'][2]['images'] == 3 and answers['ready'][0] == 200
    assert answers['model'][2]['classes'] == ['ape', 'bee', 'cat']
    assert answers['none'][0] == 400 and 'JPEG or PNG' in answers['none'][2]['error']
    assert answers['told'][0] == answers['long'][0] == 413
    states = [status for status, _, _ in answers['many']]
    assert set(states) == {200, 503} and len(states) == 12
    assert all(int(told['retry-after']) >= 1 for status, told, _ in answers['many']
               if status == 503)
