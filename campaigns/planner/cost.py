"""What a touch costs: what is expected, and the most it can be. Money of the campaign's currency."""

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from audiences.vocabulary import Medium
from campaigns import content
from campaigns.models import MessageVariant
from campaigns.planner.spec import PlannedChannel
from channels import platform_rules
from channels.vocabulary import PriceModel

ZERO = Decimal(0)
MILLIONTH = Decimal("0.000001")
# Share of touches that bring the paid event, until the channel's own reports tell.
CLICKS, ACTIONS = Decimal("0.02"), Decimal("0.005")


@dataclass(frozen=True, slots=True)
class TouchCost:
    """Of one touch that is sent. ``greatest`` is what is reserved for it."""

    expected: Decimal
    greatest: Decimal


def of(channel: PlannedChannel, on: dt.date, conversion_value: Decimal) -> TouchCost:
    """The cost of a touch on a channel by its price model. Fixed fees are no cost of a touch."""
    price = channel.channel.unit_price
    expected, greatest = ZERO, ZERO
    match channel.channel.price_model:
        case PriceModel.PER_MESSAGE:
            expected = greatest = price * parts(channel, on)
        case PriceModel.CPM:
            expected = greatest = price / 1000
        case PriceModel.CPC:
            expected, greatest = price * CLICKS, price
        case PriceModel.CPA:
            expected, greatest = price * ACTIONS, price
        case PriceModel.CPS:
            expected, greatest = price * conversion_value * ACTIONS, price * conversion_value
    # Reserves are kept in millionths: never less than what it may cost.
    return TouchCost(expected, greatest.quantize(MILLIONTH, rounding=ROUND_UP))


def parts(channel: PlannedChannel, on: dt.date) -> int:
    """How many messages a text is billed as at most, over its variants; 1 on other media."""
    if channel.medium != Medium.SMS or channel.message_version_id is None:
        return 1
    most = 1
    for variant in MessageVariant.objects.filter(version_id=channel.message_version_id):
        _subject, text, _html = content.preview(variant.subject, variant.text, "")
        most = max(most, len(platform_rules.cut_message(channel.channel, text, on).parts))
    return most
