"""Posts to many in a campaign's coverage: what they were shown to, by their stated weight, apart from what was reached."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from campaigns.models import Broadcast
from campaigns.queries import broadcasts as queries
from channels.models import Channel


@dataclass(frozen=True, slots=True)
class PostsLine:
    """Posts of one kind and weight on one channel. ``shown`` is *unobserved*: nobody is known to have looked.

    Who is in two of the groups, or a customer of two of the employees, is in it twice. ``weighted``: shown × weight,
    in messages to one customer; never added to reached.
    """

    channel: Channel
    kind: str
    kind_label: Any
    weight: Decimal
    posts: int
    tasks: int
    confirmed: int
    waiting: int
    unconfirmed: int
    failed: int
    shown: int
    likes: int
    comments: int
    visits: int | None  # None: none has a link

    @property
    def weighted(self) -> Decimal:
        return self.shown * self.weight


def posts_of(campaign_id: int) -> list[PostsLine]:
    """The approved posts of a campaign by channel, kind and weight."""
    rows = queries.of_campaign(campaign_id)
    channels = Channel.objects.in_bulk({row["channel_id"] for row in rows})
    visits = queries.visits(list(channels), [link for row in rows for link in row["links"]])
    found = []
    for row in rows:
        links = row.pop("links")
        found.append(
            PostsLine(
                channel=channels[row.pop("channel_id")],
                kind_label=Broadcast.Kind(row["kind"]).label,
                visits=sum(visits.get(link, 0) for link in links) if links else None,
                **row,
            )
        )
    return found
