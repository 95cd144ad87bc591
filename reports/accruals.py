"""From what was handed over and what platforms report to ledger lines, each traced to a document.

Posting again posts only differences, so it can run as often as one likes; late facts restate open days
and go to the open period after close.
"""

import datetime as dt
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from reports.fx import RateMissing
from reports.ledger import Account, LedgerRefused, cost_lines, post
from reports.models import SourceDocument
from reports.queries import spend


def post_incurred(
    now: dt.datetime, *, campaign_id: int | None = None, user: Any | None = None
) -> tuple[int, list[str]]:
    """Post touch costs and platform spend not yet in the ledger.

    Returns how many documents were posted, and what could not be posted in words (a rate is missing…).
    """
    posted, problems = 0, []
    for document, lines, text in [*_touch_costs(now, campaign_id), *_platform_spend(now)]:
        try:
            with transaction.atomic():
                registered, _made = SourceDocument.objects.get_or_create(
                    kind=document.kind,
                    number=document.number,
                    defaults={"day": document.day, "detail": document.detail, "created_by": user},
                )
                posted += post(lines, document=registered, description=text, user=user, now=now) is not None
        except (RateMissing, LedgerRefused) as problem:
            problems.append(f"{text}: {problem}")
    return posted, problems


def _touch_costs(now: dt.datetime, campaign_id: int | None) -> list[tuple[SourceDocument, list[Any], str]]:
    found = []
    for campaign, channel, currency, day, difference, attempts, posting in spend.unposted_touch_cost(
        campaign_id
    ):
        number = f"attempts of campaign {campaign}, channel {channel}, {day}, posting {posting}"
        document = SourceDocument(
            kind=SourceDocument.Kind.DELIVERY_RECORD,
            number=number,
            day=day,
            detail={"campaign": campaign, "channel": channel, "day": str(day), "attempts": attempts},
        )
        lines = cost_lines(
            Account.MESSAGE_FEES,
            difference,
            currency=currency,
            service_date=day,
            campaign_id=campaign,
            channel_id=channel,
            source_line=number,
            allocation=_("by attempt: each attempt's price belongs to its touch's campaign"),
        )
        found.append((document, lines, _("Message fees of %(day)s") % {"day": day}))
    return found


def _platform_spend(now: dt.datetime) -> list[tuple[SourceDocument, list[Any], str]]:
    found = []
    for (
        campaign,
        channel,
        report,
        version,
        currency,
        day,
        placement,
        difference,
        source,
        posting,
    ) in spend.unposted_platform_spend():
        number = f"channel {channel}, {day}, campaign {campaign or '-'}, posting {posting}: {placement}"
        document = SourceDocument(
            kind=SourceDocument.Kind.PLATFORM_REPORT,
            number=number[:160],
            day=day,
            detail={"report": report, "version": version, "placement": placement, "source": source},
        )
        allocation = (
            _("direct: the placement belongs to one campaign")
            if campaign
            else _("unallocated: no campaign is named")
        )
        lines = cost_lines(
            Account.MEDIA_COST,
            difference,
            currency=currency,
            service_date=day,
            campaign_id=campaign,
            channel_id=channel,
            source_line=number,
            allocation=allocation,
        )
        found.append((document, lines, _("Platform spend of %(day)s") % {"day": day}))
    return found
