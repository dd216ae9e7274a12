"""Requests of many clients, run together: a bounded queue and batches in order of arrival."""
import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Callable, List, Optional, Sequence, Tuple


@dataclass
class BatchingOptions:
    """How requests wait for each other.

    Args:
        max_batch (int): Items of a batch, at most. Defaults to 8.
        max_delay (float): Seconds that the first waits for others. Defaults to 0.005.
        max_waiting (int): Items that may wait; more are turned away. Defaults to 64.
    """
    max_batch: int = 8
    max_delay: float = 0.005
    max_waiting: int = 64

    def __post_init__(self) -> None:
        from mmyolonas.utils.errors import UserError
        for name, least in (('max_batch', 1), ('max_waiting', 1), ('max_delay', 0)):
            value = getattr(self, name)
            if not least <= value < math.inf:  # NaN is not
                raise UserError(f'{name} must be at least {least}, got {value}.')


class Overloaded(Exception):
    """More is waiting than may; come again after ``seconds``.

    Args:
        seconds (int): When what waits now will be done, by the pace so far.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f'too many requests are waiting; try again in {seconds} s')
        self.seconds = seconds


class Batcher:
    """Runs a function of a list for callers of one item each.

    Every item that is accepted is answered, by its result or its error: also when the batcher
    is stopped, which works off what waits.

    Args:
        run (Callable[[list], list]): One result for each item; called by one thread, never
            twice at a time.
        options (BatchingOptions): Limits.
    """

    def __init__(self, run: Callable[[List[Any]], Sequence[Any]],
                 options: Optional[BatchingOptions] = None) -> None:
        self.run, self.options = run, options or BatchingOptions()
        self._queue: asyncio.Queue[Optional[Tuple[Any, asyncio.Future]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, 'batches')
        self._task: Optional[asyncio.Task] = None
        self._closed = False
        self.waiting, self.batches, self.items = 0, 0, 0
        self.seconds_per_item = 0.05  # until something has been measured

    async def start(self) -> None:
        """Begin to take batches off the queue."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Take nothing new, finish what waits."""
        self._closed = True
        self._queue.put_nowait(None)
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    @property
    def retry_after(self) -> int:
        """int: Seconds until what waits now will be done."""
        return max(1, math.ceil(self.waiting * self.seconds_per_item))

    def check(self) -> None:
        """Raise :class:`Overloaded` if nothing more is taken."""
        if self._closed or self.waiting >= self.options.max_waiting:
            raise Overloaded(self.retry_after)

    async def __call__(self, item: Any) -> Any:
        """Return the result of an item.

        Args:
            item (Any): What ``run`` takes a list of.

        Raises:
            Overloaded: It was not taken.
            Exception: What ``run`` raised for it.
        """
        self.check()
        future = asyncio.get_running_loop().create_future()
        self.waiting += 1
        self._queue.put_nowait((item, future))
        try:
            return await future
        finally:
            self.waiting -= 1

    async def _collect(self) -> Tuple[List[Tuple[Any, asyncio.Future]], bool]:
        """Return the next batch, and whether it is the last."""
        loop = asyncio.get_running_loop()
        first = await self._queue.get()
        if first is None:
            return [], True
        batch, end = [first], loop.time() + self.options.max_delay
        while len(batch) < self.options.max_batch:
            try:
                item = self._queue.get_nowait() if self._queue.qsize() else (
                    await asyncio.wait_for(self._queue.get(), max(0., end - loop.time())))
            except (asyncio.TimeoutError, TimeoutError):
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False

    async def _work(self) -> None:
        last = False
        while not last:
            batch, last = await self._collect()
            batch = [pair for pair in batch if not pair[1].done()]  # whose caller has gone
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: List[Tuple[Any, asyncio.Future]]) -> None:
        loop, start = asyncio.get_running_loop(), perf_counter()
        try:
            results = await loop.run_in_executor(
                self._thread, lambda: list(self.run([item for item, _ in batch])))
            if len(results) != len(batch):
                raise RuntimeError(f'{len(results)} results for {len(batch)} items')
        except Exception as error:
            if len(batch) > 1:  # one of them is to blame: the others get their results
                for pair in batch:
                    await self._answer([pair])
                return
            if not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        pace = (perf_counter() - start) / len(batch)
        self.seconds_per_item += 0.2 * (pace - self.seconds_per_item)
        self.batches, self.items = self.batches + 1, self.items + len(batch)
        for (_, future), result in zip(batch, results):
            if not future.done():
                future.set_result(result)
