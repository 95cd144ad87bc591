"""KOL accounts and their posts: what they cost, and what each brought for a yuan of its fee.

Visits are counted by the post's own tracked link. Orders are those with the post's offer code, and those of people
whose visit the shop told us of with the link's ``utm_content``, within some days after it.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from audiences.vocabulary import Medium
from channels import daily_reports
from channels.adapters.base import ReportRow
from channels.links import link_url, named_url
from channels.models import Channel, KolAccount, KolPlacement, Link
from channels.queries import kol as queries
from channels.vocabulary import PriceModel

DAYS_AFTER_VISIT = 15
"""An order so many days after a visit by a post's link is the post's."""
MEASURES = ("visits", "orders", "revenue")
State = KolPlacement.State


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account brought by the posts of some days. Money in the channel's currency."""

    account: KolAccount
    posts: int
    fee: Decimal
    visits: int
    orders: int
    revenue: Decimal
    share: float | None  # of the chosen measure, over all accounts listed
    per_fee: Decimal | None  # of the chosen measure, for one unit of fee; None without a fee
    rank: int | None  # None: no post yet, or none with a fee


def ranking(
    first: date, last: date, by: str = "visits", channel_id: int | None = None, campaign_id: int | None = None
) -> list[Standing]:
    """Accounts by what they brought for their fees, best first; those that brought it for nothing behind them by what
    they brought, those without a post last. How many followers they have does not count."""
    rows = queries.by_account(first, last, DAYS_AFTER_VISIT, channel_id, campaign_id)
    accounts = KolAccount.objects.select_related("channel").in_bulk([row[0] for row in rows])
    position = MEASURES.index(by) + 3
    total = sum(row[position] for row in rows)

    def per_fee(row: tuple[int, int, Decimal, int, int, Decimal]) -> Decimal | None:
        return Decimal(row[position]) / row[2] if row[2] else None

    def order(row: tuple[int, int, Decimal, int, int, Decimal]) -> tuple[bool, bool, Decimal, str]:
        worth = per_fee(row)
        brought = Decimal(row[position]) if worth is None else worth
        return not row[1], worth is None, -brought, accounts[row[0]].name

    found, rank = [], 0
    for row in sorted(rows, key=order):
        worth = per_fee(row)
        rank += worth is not None
        pk, posts, fee, visits, orders, revenue = row
        found.append(
            Standing(
                accounts[pk],
                posts,
                fee,
                visits,
                orders,
                revenue,
                float(row[position] / total) if total else None,
                worth,
                rank if worth is not None else None,
            )
        )
    return found


def brought(placements: list[KolPlacement]) -> dict[int, tuple[int, int, Decimal]]:
    """(visits, orders, revenue) of these posts, by placement; of posted ones only."""
    days = [placement.posted_on for placement in placements if placement.posted_on]
    if not days:
        return {}
    rows = queries.by_post(min(days), max(days), DAYS_AFTER_VISIT)
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def check_channel(channel: Channel) -> None:
    """Raises :class:`ValidationError` where posts on this channel could not be paid for in the books."""
    if channel.medium != Medium.KOL:
        raise ValidationError(_("Choose a channel of the medium KOL."))
    if channel.price_model == PriceModel.PER_MESSAGE:
        raise ValidationError(
            _(
                "%(channel)s is priced by the message: set its price model to “Fixed”, so that fees reach the ledger."
            )
            % {"channel": channel.name}
        )


def place(
    account: KolAccount,
    campaign_id: int,
    day: date,
    fee: Decimal,
    url: str,
    code: str = "",
    brief: str = "",
) -> KolPlacement:
    """A post to be made, with a tracked link of its own to ``url``. Raises :class:`ValidationError`."""
    check_channel(account.channel)
    if fee < 0:
        raise ValidationError({"fee": _("It cannot be less than 0.")})
    try:
        with transaction.atomic():
            placement = KolPlacement.objects.create(
                account=account, campaign_id=campaign_id, day=day, fee=fee, code=code.strip(), brief=brief
            )
            placement.link = Link.objects.create(
                campaign_id=campaign_id,
                channel=account.channel,
                url=named_url(url, "kol", placement.reference),
                label=account.name[:120],
            )
            placement.save(update_fields=["link"])
    except IntegrityError:
        raise ValidationError({"code": _("Another post has this offer code.")}) from None
    return placement


def tracked_url(placement: KolPlacement) -> str:
    """What the account puts into its post: the same for everybody who sees it."""
    return link_url(placement.link_id or 0, placement.campaign_id, placement.account.channel_id, None, None)


def posted(placement: KolPlacement, on: date, now: datetime, post_url: str = "") -> KolPlacement:
    """It is out: its fee is spend of that day. Saying so again changes nothing. Raises :class:`ValidationError`."""
    with transaction.atomic():
        placement = _locked(placement)
        if placement.state == State.CANCELLED:
            raise ValidationError(_("This post was cancelled."))
        if placement.state != State.POSTED:
            placement.state, placement.posted_on = State.POSTED, on
            placement.post_url = post_url[:500]
            placement.save(update_fields=["state", "posted_on", "post_url"])
        _spend(placement, placement.fee, now)
    return placement


def cancel(placement: KolPlacement, now: datetime) -> KolPlacement:
    """It will not be, or is taken back: what was spent on it is spent no more, as a further version."""
    with transaction.atomic():
        placement = _locked(placement)
        if placement.state == State.POSTED:
            _spend(placement, Decimal(0), now)
        placement.state = State.CANCELLED
        placement.save(update_fields=["state"])
    return placement


def _locked(placement: KolPlacement) -> KolPlacement:
    return (
        KolPlacement.objects.select_for_update(of=("self",))
        .select_related("account__channel")
        .get(pk=placement.pk)
    )


def _spend(placement: KolPlacement, fee: Decimal, now: datetime) -> None:
    if placement.posted_on is None:
        return
    channel = placement.account.channel
    row = ReportRow(placement.posted_on, placement.reference, channel.currency, fee)
    daily_reports.store(channel, [row], now, source="kol placement")
