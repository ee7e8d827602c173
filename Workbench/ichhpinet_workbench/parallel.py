"""Many like jobs, in this process or in several: results stream back as they come, and few are under way at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 2  # jobs handed to each worker: it never waits for the next, and the queue never grows


def each(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 0) -> Iterator[tuple[Job, Result]]:
    """(job, what `work` made of it) of every job, in order with workers 0 or 1, else as they are done.

    work: a function of a module, not a lambda, where there are workers: fresh processes import it. jobs: may be a
    stream; no more than AHEAD a worker are taken from it before their time. Raises what `work` raises.
    """
    if workers <= 1:
        yield from ((job, work(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that runs torch's threads can hang
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        yield from _streamed(pool, work, iter(jobs), workers * AHEAD)


def _streamed(
    pool: ProcessPoolExecutor, work: Callable[[Job], Result], jobs: Iterator[Job], limit: int
) -> Iterator[tuple[Job, Result]]:
    under_way: dict[Future[Result], Job] = {}
    try:
        while True:
            for job in islice(jobs, limit - len(under_way)):
                under_way[pool.submit(work, job)] = job
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield under_way.pop(future), future.result()
    finally:
        for future in under_way:
            future.cancel()


def _one_thread() -> None:
    """The processes share the cores; each takes one."""
    for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = "1"
