"""The same work by several processes at once, begun together and timed as one."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def timed(work: Callable[..., Any], workers: int, *arguments: Any) -> tuple[float, list[Any], list[float]]:
    """Seconds from the first worker's start of work to the end of the last, what each returned, and seconds of processor.

    The latter, which other programs disturb less, are those of the workers and those of their database connections.

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
    cpu = [round(sum(used), 2) for used in zip(*(used for _result, used in results), strict=True)]
    return seconds, [result for result, _used in results], cpu


def _worker(work: Callable[..., Any], arguments: tuple[Any, ...], ready: Any, go: Any, told: Any) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.db import connection

    connection.ensure_connection()
    backend = connection.connection.info.backend_pid
    ready.wait(120)
    go.wait()
    before = time.process_time(), _processor_seconds(backend)
    try:
        result = work(*arguments)
        used = time.process_time() - before[0], _processor_seconds(backend) - before[1]
        told.put((result, used))
    except Exception as error:
        told.put(RuntimeError(f"{type(error).__name__}: {error}"))


def _processor_seconds(pid: int) -> float:
    """What a process of this machine used so far; 0 of one that runs elsewhere."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
