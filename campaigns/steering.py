"""Public domains: platforms are steered, not sent to.

A campaign's audience on a platform mirrors the people with a due touch there, as desired state: wanted rows
are pushed by :mod:`channels.audience_sync` until the platform agrees, and an exit or the end takes people
out. What the platform then shows to whom it does not tell, so those touches are *unobserved*: never over,
never a gap. Its own cap and budget are set to the plan's.
"""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from audiences.models import Brand
from campaigns.hours import zone_info
from campaigns.models import Campaign, ChannelPlan
from campaigns.queries import steering as queries
from channels import flights
from channels.adapters import adapter_class
from channels.adapters.base import Flight
from channels.audience_sync import audience_for
from channels.models import Channel, PlatformAudience
from channels.vocabulary import Observability

AT_ONCE = 20_000
LONGEST_CAP_DAYS = 90  # what platforms take as an interval


def steer(now: datetime) -> int:
    """Bring audiences and touches of all running plans on platforms up to date; how many rows changed."""
    done = queries.hold(now)
    for campaign_id, channel_id, brand_id, medium, observability, name in queries.steered(now):
        params = {
            "campaign": campaign_id,
            "channel": channel_id,
            "brand": str(brand_id),
            "medium": medium,
            "now": now,
            "limit": AT_ONCE,
        }
        channel = Channel.objects.get(pk=channel_id)
        # Platforms find an audience again by its name, and two campaigns may have one name.
        title = f"{Brand.objects.get(pk=brand_id).name}: {name} #{campaign_id}"
        if observability != Observability.PERSON_TARGETED:
            done += queries.placed(params)
            if "set_flight" in adapter_class(channel.adapter).verbs():
                _steer_flight(audience_for(channel, campaign_id, title), campaign_id, channel_id)
            continue
        audience = audience_for(channel, campaign_id, title)
        params["audience"] = audience.pk
        done += _all(queries.refuse, params)
        with transaction.atomic():
            done += queries.want(params)
            done += _drop_seen(audience, params)
        done += _all(queries.observed_no_more, params)
        _steer_flight(audience, campaign_id, channel_id)
    return done + queries.drop_ended(now)


def _drop_seen(audience: PlatformAudience, params: dict[str, object]) -> int:
    """A platform without a frequency cap: whoever was seen to get the planned exposures leaves the audience.

    Exposures of a person are those our links, pixels and monitoring callbacks tell of; where none are told, the
    cap is nobody's to keep, and the audience's page says so.
    """
    cap = flights.unheld_cap(audience)
    if cap is None:
        return 0
    return queries.drop_seen({**params, "cap": cap[0], "days": cap[1] or LONGEST_CAP_DAYS})


def _all(query: object, params: dict[str, object]) -> int:
    done = 0
    while changed := query(params):  # type: ignore[operator]
        done += changed
        if changed < AT_ONCE:
            break
    return done


def _steer_flight(audience: PlatformAudience, campaign_id: int, channel_id: int) -> None:
    """Budget, dates and cap of the plan, wanted of the platform. Without a budget the platform's own holds."""
    campaign = Campaign.objects.get(pk=campaign_id)
    plan = ChannelPlan.objects.filter(campaign=campaign, channel_id=channel_id).first()
    budget = plan.budget if plan else None
    if not budget or campaign.starts_at is None or campaign.ends_at is None:
        return
    zone = zone_info(campaign.zone)
    cap, days = _cap(plan, campaign)
    flights.want(
        audience,
        Flight(
            reference="",
            budget=Decimal(budget),
            starts_on=campaign.starts_at.astimezone(zone).date(),
            ends_on=campaign.ends_at.astimezone(zone).date(),
            cap_exposures=cap,
            cap_days=days,
        ),
    )


def _cap(plan: ChannelPlan | None, campaign: Campaign) -> tuple[int | None, int | None]:
    """The most touches any stage gets in a round, and the days of a round: what one audience can be held to."""
    if plan is None:
        return None, None
    touches = plan.targets.order_by("-touches").values_list("touches", flat=True).first()
    first = campaign.rounds.exclude(starts_at=None).exclude(ends_at=None).first()
    if not touches or first is None or first.starts_at is None or first.ends_at is None:
        return None, None
    days = max(1, round((first.ends_at - first.starts_at).total_seconds() / 86400))
    return int(touches), min(days, LONGEST_CAP_DAYS)
