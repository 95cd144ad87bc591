"""The same work by several processes at once, begun together and timed as one."""

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any


def timed(work: Callable[..., Any], workers: int, *arguments: Any) -> tuple[float, list[Any]]:
    """Seconds from the first worker's start of work to the end of the last, and what each returned.

    ``work`` is a function of a module of ``bench/``; Django is ready when it is called.
    """
    from django.db import connection

    connection.close()
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(workers + 1), context.Event()
    told = context.Queue()
    processes = [
        context.Process(target=_worker, args=(work, arguments, ready, go, told)) for _number in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait(120)
    began = time.perf_counter()
    go.set()
    results = [told.get() for _process in processes]
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return seconds, results


def _worker(work: Callable[..., Any], arguments: tuple[Any, ...], ready: Any, go: Any, told: Any) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.db import connection

    connection.ensure_connection()
    ready.wait(120)
    go.wait()
    try:
        told.put(work(*arguments))
    except Exception as error:
        told.put(RuntimeError(f"{type(error).__name__}: {error}"))
