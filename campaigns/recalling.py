"""Tasks that wait for a confirmation and must not be confirmed any more: cancelled at once.

Of a campaign that was paused or stopped, and of people who left it, opted out or were erased. A task is cancelled
as a whole, so those it was rightly made for are planned again and get a new one. What an employee confirmed
before the cancellation was sent, and stands so. Rows are the truth: what a kill leaves half done is found again.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from audiences.contact_state import forms
from audiences.vocabulary import permission_key
from campaigns import polling, settlement
from campaigns.queries import recalling as queries
from campaigns.settlement import Told
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, Inbound, Receipt
from channels.models import Channel
from channels.queries.locks import alone

log = logging.getLogger(__name__)

AT_ONCE = 10_000


def recall_all(now: datetime) -> int:
    """On every channel that can cancel; returns how many attempts were taken back."""
    done = 0
    for channel in (
        Channel.objects.exclude(state=Channel.State.ARCHIVED).select_related("brand").order_by("pk")
    ):
        with suppress(LookupError):
            if "expire" in adapter_class(channel.adapter).verbs():
                done += recall(channel, now)
    return done


def recall(channel: Channel, now: datetime) -> int:
    """On one channel, by one worker at a time. What cannot be reached is tried again by the next round."""
    unwanted = queries.unwanted(
        channel.pk, permission_key(channel.brand_id, channel.medium), list(forms(channel.brand_id, channel.medium)), AT_ONCE
    )  # fmt: skip
    if not unwanted:
        return 0
    with alone(polling.POLL_LOCK, channel.pk) as mine:
        if not mine:
            return 0
        held = queries.in_tasks(channel.pk, unwanted)
        try:
            events = adapter_for(channel).expire([reference for reference, _c, _a in held])
        except AdapterError as error:
            log.warning("tasks of channel %s cannot be cancelled: %s", channel.pk, error)
            return 0
        return len(settlement.apply(_facts(held, events, now), now))


def _facts(held: Sequence[tuple[str, int, int]], events: Sequence[Inbound], now: datetime) -> list[Told]:
    """What went out before is told as it is; the rest was never sent, and is planned again for who still wants it."""
    known = {reference: (campaign_id, attempt_id) for reference, campaign_id, attempt_id in held}
    facts = []
    for event in events:
        if event.reference not in known or event.receipt is None:
            continue
        recalled = event.receipt == Receipt.EXPIRED
        facts.append(
            Told(
                *known[event.reference],
                told="withdrawn" if recalled else str(event.receipt),
                at=now if recalled else min(event.occurred_at, now),
                code="recalled" if recalled else event.code,
                again_at=now if recalled else None,
                invalid=event.permanent and event.receipt in (Receipt.BOUNCED, Receipt.REJECTED),
            )
        )
    return facts
