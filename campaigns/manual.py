"""The list a person works by hand: what a manual channel holds, worded, with the columns of the receipts' import."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from audiences.days import day_of
from campaigns import content, offers, rule_breaks
from campaigns.models import MessageVariant
from channels.models import Channel

COLUMNS = (
    "reference",
    "attempt_id",
    "name",
    "address",
    "subject",
    "text",
    "confirm_before",
    "outcome",
    "occurred_at",
    "code",
)
AT_ONCE = 2000

HELD = """
SELECT a.id, a.reference, a.campaign_id, a.touch_id, a.customer_id, c.name, i.value, t.message_version_id, t.variant,
       t.deadline_at
FROM campaigns_attempt a
JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
JOIN audiences_customer c ON c.id = a.customer_id
LEFT JOIN audiences_identity i ON i.id = a.identity_id
WHERE a.channel_id = %(channel)s AND a.state = 'held' AND a.id > %(after)s
  AND (%(campaign)s::bigint IS NULL OR a.campaign_id = %(campaign)s)
ORDER BY a.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Held:
    """One line of the list. ``outcome``, ``occurred_at`` and ``code`` are for the person to fill in."""

    reference: str
    attempt_id: int
    name: str
    address: str
    subject: str
    text: str
    confirm_before: datetime

    def row(self) -> list[str]:
        return [
            self.reference,
            str(self.attempt_id),
            self.name,
            self.address,
            self.subject,
            self.text,
            self.confirm_before.isoformat(),
            "",
            "",
            "",
        ]


def held_list(
    channel: Channel, campaign_id: int | None = None, now: datetime | None = None
) -> Iterator[Held]:
    """What is to be done on this channel, oldest first, in batches. Text and links are those of each person; words that
    break a platform's rule of the day are left out."""
    prepared: dict[tuple[int | None, int], content.PreparedMessage | None] = {}
    broken: dict[int | None, bool] = {None: False}
    today = day_of(now or timezone.now())
    after = 0
    while rows := _held(channel.pk, campaign_id, after):
        after = rows[-1][0]
        for version, variant in {(row[7], row[8]) for row in rows} - set(prepared):
            prepared[version, variant] = _prepared(version, variant, channel)
            if version not in broken:
                broken[version] = rule_breaks.broken_on(version, channel, today)
        fields = sorted({name for message in prepared.values() if message for name in message.fields})
        values = content.values_of([row[4] for row in rows], fields)
        granted = offers.given([(row[2], row[4]) for row in rows]) if offers.names_one(fields) else {}
        for (
            attempt_id,
            reference,
            campaign,
            touch,
            customer,
            name,
            address,
            version,
            variant,
            deadline,
        ) in rows:
            if broken[version]:
                continue
            message = prepared[version, variant]
            subject, text = "", ""
            if message is not None:
                filled = message.fill(
                    values.get(customer, {}) | granted.get((campaign, customer), {}),
                    campaign_id=campaign,
                    touch_id=touch,
                    customer_id=customer,
                )
                subject, text = filled.subject, filled.text
            yield Held(reference, attempt_id, name, address or "", subject, text, deadline)


def _held(channel_id: int, campaign_id: int | None, after: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            HELD, {"channel": channel_id, "campaign": campaign_id, "after": after, "limit": AT_ONCE}
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _prepared(version: int | None, variant: int, channel: Channel) -> content.PreparedMessage | None:
    if version is None:
        return None
    try:
        return content.prepare(version, variant, channel)
    except MessageVariant.DoesNotExist:
        return None
