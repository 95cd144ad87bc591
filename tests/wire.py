"""The one fake far side for tests of dispatch: an adapter that keeps what it was handed, and answers as told."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from audiences.vocabulary import Medium
from channels import adapters
from channels.adapters.base import BaseAdapter, Inbound, Outcome, Outgoing, Sent
from channels.vocabulary import Domain, Guarantee, Observability

_numbers = itertools.count(1)


class Wire:
    """What one provider saw. ``answer`` decides each message's outcome; by default all are accepted."""

    def __init__(
        self, answer: Callable[[Outgoing], Sent | Outcome] | None = None, *, batch_size: int = 100,
        before: Callable[[Sequence[Outgoing]], None] | None = None, guarantee: Guarantee = Guarantee.IMMEDIATE,
        observability: Observability = Observability.PERSON_OBSERVED, kinds: tuple[str, ...] = (),
        poll: Callable[[list[str]], list[Inbound]] | None = None,
    ) -> None:  # fmt: skip
        self.answer, self.before, self.batch_size = answer, before, batch_size
        self.guarantee, self.observability, self.kinds, self.poll = guarantee, observability, kinds, poll
        self.log: list[Outgoing] = []
        self.at: list[float] = []
        self.calls = 0
        self._lock = threading.Lock()

    @property
    def addresses(self) -> list[str]:
        return [message.address for message in self.log]

    def take(self, batch: Sequence[Outgoing]) -> list[Sent]:
        if self.before:
            self.before(batch)
        with self._lock:
            self.calls += 1
            self.log += batch
            self.at += [time.monotonic()] * len(batch)
        return [self._answer(message) for message in batch]

    def _answer(self, message: Outgoing) -> Sent:
        told = self.answer(message) if self.answer else Outcome.ACCEPTED
        return told if isinstance(told, Sent) else Sent(message.attempt_id, told, f"ref-{message.attempt_id}")


def install(wire: Wire) -> type[BaseAdapter]:
    """An adapter class of its own for this wire, known to the process by a name of its own."""

    class Adapter(BaseAdapter):
        name: ClassVar[str] = f"wire{next(_numbers)}"
        label: ClassVar[Any] = "Test wire"
        media: ClassVar[tuple[str, ...]] = tuple(Medium.values)
        domain = Domain.PRIVATE
        guarantee = wire.guarantee
        observability = wire.observability
        address_kinds = wire.kinds
        batch_size = wire.batch_size

        def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
            return wire.take(batch)

    if wire.poll is not None:
        handler = wire.poll

        def poll(self: BaseAdapter, references: Any) -> list[Inbound]:
            return handler(list(references))

        Adapter.poll = poll  # type: ignore[method-assign]
    return adapters.add(Adapter)
