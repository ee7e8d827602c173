"""Many like jobs, in this process or in several: results stream back as they come, and few are under way at once."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

M_MMAP_THRESHOLD = -3  # glibc's malloc.h
RETURNED_BYTES = 1 << 20  # a freed block of this size goes back to the system; volumes and their maps are larger
AHEAD = 2  # jobs handed to each worker: it never waits for the next, and the queue never grows


def each(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 0) -> Iterator[tuple[Job, Result]]:
    """(job, what `work` made of it) of every job, in order with workers 0 or 1, else as they are done.

    work: a function of a module, not a lambda, where there are workers: fresh processes import it. jobs: may be a
    stream; no more than AHEAD a worker are taken from it before their time. Raises what `work` raises.
    """
    if workers <= 1:
        return_large_blocks()
        yield from ((job, work(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that runs torch's threads can hang
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start) as pool:
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


def return_large_blocks() -> None:
    """What is freed of many volumes of many sizes goes back to the system, so that a process does not grow with them.

    By itself glibc raises the size from which it does so up to 32 MB, as such blocks are freed; smaller ones then stay
    in its heap, where a volume of another size does not fit into what the last one left. Elsewhere than on glibc
    nothing is done.
    """
    try:
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, RETURNED_BYTES)
    except (OSError, AttributeError):
        return


def end_with_parent() -> None:
    """In a process of a pool: end when the one that started it does, even if that was killed and could say nothing."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start() -> None:
    """The processes share the cores; each takes one."""
    end_with_parent()
    for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = "1"
    return_large_blocks()
