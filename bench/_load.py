"""The other side of ``bench intake``: HTTP load from a process of its own, over connections that stay open.

Requests are given whole, on stdin as pickled bytes; each connection sends its share one after the other and waits
for each answer. With a rate, each has its moment, and its time counts from that moment, not from when it was sent.
"""

import pickle
import socket
import sys
import threading
import time
from typing import Any


class Connection:
    """One keep-alive connection; opened again when the server closed it between two requests."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.socket = self._open()

    def _open(self) -> socket.socket:
        opened = socket.create_connection(self.address, timeout=60)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def ask(self, request: bytes) -> int:
        """The status of the answer."""
        try:
            self.socket.sendall(request)
            return self._status()
        except (ConnectionError, EOFError):
            self.socket.close()
            self.socket = self._open()
            self.socket.sendall(request)
            return self._status()

    def _status(self) -> int:
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError
            got += part
        head = got[:end].lower()
        _name, _mark, length = head.partition(b"content-length:")
        left = int(length.split(b"\r\n")[0] or 0) - (len(got) - end - 4)
        while left > 0:
            left -= len(self.socket.recv(65536))
        if b"connection: close" in head:
            self.socket.close()
            self.socket = self._open()
        return int(head[9:12])


def work(job: dict[str, Any]) -> dict[str, Any]:
    """``requests``, ``connections``, ``rate`` (0: as fast as answered) → seconds, latencies, statuses."""
    requests, connections, rate = job["requests"], job["connections"], job["rate"]
    latencies: list[float] = [0.0] * len(requests)
    statuses: dict[int, int] = {}
    turn = iter(range(len(requests)))
    lock, ready = threading.Lock(), threading.Barrier(connections + 1)
    begin = [0.0]

    def run() -> None:
        connection = Connection(job["host"], job["port"])
        ready.wait()
        ready.wait()
        mine: dict[int, int] = {}
        while True:
            with lock:
                n = next(turn, None)
            if n is None:
                break
            due = time.perf_counter()
            if rate:
                due = begin[0] + n / rate
                if (wait := due - time.perf_counter()) > 0:
                    time.sleep(wait)
            status = connection.ask(requests[n])
            latencies[n] = time.perf_counter() - due
            mine[status] = mine.get(status, 0) + 1
        with lock:
            for status, count in mine.items():
                statuses[status] = statuses.get(status, 0) + count

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    ready.wait()
    begin[0] = time.perf_counter()
    ready.wait()
    for thread in threads:
        thread.join()
    return {"seconds": time.perf_counter() - begin[0], "latencies": latencies, "statuses": statuses}


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(work(pickle.load(sys.stdin.buffer))))  # noqa: S301  (our own parent)
