"""How the targeted compare with everybody else. That is selection, and is labelled so: never lift."""

import datetime as dt
from dataclasses import asdict, dataclass, fields
from decimal import Decimal

from campaigns.models import Campaign
from reports.models import SelectionMeasure
from reports.queries import outcomes
from reports.queries.coverage import rows


@dataclass(frozen=True, slots=True)
class Selection:
    """Money in the campaign's currency, paid within the flight, over all people of a side."""

    targeted: int
    responding: int
    targeted_paid: Decimal
    others: int
    others_paid: Decimal
    starts_at: dt.datetime
    ends_at: dt.datetime
    computed_at: dt.datetime

    @property
    def response_rate(self) -> float | None:
        return self.responding / self.targeted if self.targeted else None

    @property
    def paid_each(self) -> Decimal | None:
        return self.targeted_paid / self.targeted if self.targeted else None

    @property
    def others_paid_each(self) -> Decimal | None:
        return self.others_paid / self.others if self.others else None


def selection(campaign: Campaign, now: dt.datetime) -> Selection:
    """The audience against all other customers of the brand, within the flight."""
    start = campaign.starts_at or campaign.created_at
    end = campaign.ends_at or now
    found = {
        row["targeted"]: row
        for row in rows(
            outcomes.AUDIENCE_AGAINST_REST,
            {"campaign": campaign.pk, "brand": campaign.brand_id, "start": start, "end": end},
        )
    }
    nobody = {"people": 0, "paid": Decimal(0), "responding": 0}
    targeted, others = found.get(True, nobody), found.get(False, nobody)
    return Selection(
        targeted["people"],
        targeted["responding"],
        targeted["paid"],
        others["people"],
        others["paid"],
        start,
        end,
        now,
    )


def store(campaign: Campaign, found: Selection, seconds: float) -> SelectionMeasure:
    """Keep a comparison; ``seconds`` is how long the measurement took that it was part of."""
    return SelectionMeasure.objects.create(campaign_id=campaign.pk, seconds=seconds, **asdict(found))


def newest(campaign: Campaign) -> Selection | None:
    """The comparison last stored; None if there is none."""
    stored = SelectionMeasure.objects.filter(campaign_id=campaign.pk).order_by("-computed_at", "-id").first()
    if stored is None:
        return None
    return Selection(**{each.name: getattr(stored, each.name) for each in fields(Selection)})
