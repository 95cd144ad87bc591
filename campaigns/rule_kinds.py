"""Conditions of segments that look at campaigns: touches, responses, membership, pressure."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.models import Customer
from audiences.registers import RuleField, RuleKind, rule_kinds
from audiences.segments.compiling import InSet
from audiences.vocabulary import Medium, ResponseKind
from campaigns.models import Campaign
from campaigns.pressure import SHORTEST_KEPT

GROUP = _("What campaigns did")
COMPARISONS = (("at_least", _("at least")), ("at_most", _("at most")))
DAYS = {"type": "integer", "minimum": 1, "maximum": 36500}
COUNT = {"type": "integer", "minimum": 0, "maximum": 100_000}

OUTCOMES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "reached": (_("reached"), ("sent", "delivered")),
    "planned": (_("planned and not sent yet"), ("planned", "claimed", "held")),
    "gap": (_("missed"), ("gap",)),
    "released": (_("let go by rule"), ("released",)),
}
SIDES = (("any", _("in it at all")), ("treated", _("contacted")), ("held_out", _("held out")))
ANY = "any"

# Rows of an absorbed customer count for the survivor.
PERSON = """coalesce(absorbed.merged_into_id, {table}.customer_id)"""
ABSORBED = """LEFT JOIN audiences_customer absorbed
    ON absorbed.id = {table}.customer_id AND absorbed.merged_into_id IS NOT NULL"""


def _ids(sql: str, *parameters: Any) -> QuerySet[Any]:
    """A statement of one column of customer ids as a queryset that is never run by itself."""
    return Customer.objects.filter(InSet(sql, parameters)).values("pk")


def _since(leaf: Mapping[str, Any]) -> dt.datetime | None:
    return timezone.now() - dt.timedelta(days=leaf["days"]) if leaf.get("days") else None


def _more(leaf: Mapping[str, Any]) -> int:
    """“At most n” is told as everybody but those with more than n."""
    return int(leaf["value"]) + 1 if leaf["op"] == "at_most" else int(leaf["value"])


def _complement(leaf: Mapping[str, Any]) -> bool:
    """Also “at least 0”: nobody has fewer."""
    return bool(leaf["op"] == "at_most")


def touches(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    """People with so many touches of an outcome, by campaign, medium and time where told."""
    where, parameters = ["t.state = ANY(%s)"], [list(OUTCOMES[leaf["outcome"]][1])]
    join = ""
    if leaf.get("campaign"):
        where.append("t.campaign_id = %s")
        parameters.append(leaf["campaign"])
    if leaf.get("medium"):
        join = "JOIN channels_channel ch ON ch.id = t.channel_id"
        where.append("ch.medium = %s")
        parameters.append(leaf["medium"])
    if since := _since(leaf):
        where.append("t.state_at >= %s")
        parameters.append(since)  # type: ignore[arg-type]
    return _ids(
        f"SELECT {PERSON.format(table='t')} FROM campaigns_touch t {ABSORBED.format(table='t')} {join} "  # noqa: S608
        f"WHERE {' AND '.join(where)} GROUP BY 1 HAVING count(*) >= %s",
        *parameters,
        max(1, _more(leaf)),
    )


def responses(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    """People with so many responses of a kind; what a scanner or prefetcher did does not count."""
    where, parameters = ["r.kind = %s", "NOT r.machine"], [leaf["response"]]
    join = ""
    if leaf.get("campaign"):
        where.append("r.campaign_id = %s")
        parameters.append(leaf["campaign"])
    if leaf.get("medium"):
        join = "JOIN channels_channel ch ON ch.id = r.channel_id"
        where.append("ch.medium = %s")
        parameters.append(leaf["medium"])
    if since := _since(leaf):
        where.append("r.occurred_at >= %s")
        parameters.append(since)
    return _ids(
        f"SELECT {PERSON.format(table='r')} FROM campaigns_response r {ABSORBED.format(table='r')} {join} "  # noqa: S608
        f"WHERE {' AND '.join(where)} GROUP BY 1 HAVING count(*) >= %s",
        *parameters,
        max(1, _more(leaf)),
    )


def members(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    """People in a campaign, on one of its sides or on any."""
    where, parameters = ["m.campaign_id = %s"], [leaf["campaign"]]
    if leaf.get("side", ANY) != ANY:
        where.append("m.held_out = %s")
        parameters.append(leaf["side"] == "held_out")
    return _ids(
        f"SELECT {PERSON.format(table='m')} FROM campaigns_member m {ABSORBED.format(table='m')} "  # noqa: S608
        f"WHERE {' AND '.join(where)}",
        *parameters,
    )


PRESSED = """
SELECT s.customer_id FROM audiences_contactstate s
WHERE cardinality(s.recent_at) >= %s
  AND (SELECT count(*) FROM unnest(s.recent_at) AS contact(at) WHERE contact.at > %s) >= %s
"""


def pressed(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    """People with so many contacts in the last hours, over all campaigns and channels."""
    least = max(1, _more(leaf))
    return _ids(PRESSED, least, timezone.now() - dt.timedelta(hours=leaf["hours"]), least)


# In words -----------------------------------------------------------------------------------------


def _campaign_name(leaf: Mapping[str, Any]) -> str:
    found = Campaign.objects.filter(pk=leaf["campaign"]).first()
    return str(found) if found else f"#{leaf['campaign']}"


def _where(leaf: Mapping[str, Any]) -> str:
    parts = []
    if leaf.get("medium"):
        parts.append(
            _t(" by %(medium)s") % {"medium": dict(Medium.choices).get(leaf["medium"], leaf["medium"])}
        )
    if leaf.get("campaign"):
        parts.append(_t(" in “%(campaign)s”") % {"campaign": _campaign_name(leaf)})
    if leaf.get("days"):
        parts.append(_t(" in the last %(n)s days") % {"n": leaf["days"]})
    return "".join(parts)


def _touches_in_words(leaf: Mapping[str, Any]) -> str:
    return _t("%(outcome)s %(op)s %(n)s times%(where)s") % {
        "outcome": OUTCOMES[leaf["outcome"]][0],
        "op": dict(COMPARISONS)[leaf["op"]],
        "n": leaf["value"],
        "where": _where(leaf),
    }


def _responses_in_words(leaf: Mapping[str, Any]) -> str:
    return _t("%(response)s %(op)s %(n)s times%(where)s") % {
        "response": dict(ResponseKind.choices).get(leaf["response"], leaf["response"]),
        "op": dict(COMPARISONS)[leaf["op"]],
        "n": leaf["value"],
        "where": _where(leaf),
    }


def _members_in_words(leaf: Mapping[str, Any]) -> str:
    campaign = _campaign_name(leaf)
    if leaf.get("side") == "held_out":
        return _t("was held out of “%(campaign)s”") % {"campaign": campaign}
    if leaf.get("side") == "treated":
        return _t("was in “%(campaign)s” and not held out") % {"campaign": campaign}
    return _t("was in “%(campaign)s”") % {"campaign": campaign}


def _pressed_in_words(leaf: Mapping[str, Any]) -> str:
    return _t("contacted %(op)s %(n)s times in the last %(hours)s hours, over all campaigns") % {
        "op": dict(COMPARISONS)[leaf["op"]],
        "n": leaf["value"],
        "hours": leaf["hours"],
    }


# Choices ------------------------------------------------------------------------------------------


def _campaigns() -> list[tuple[Any, Any]]:
    found = Campaign.objects.exclude(state="draft").values_list("pk", "name")
    return list(found[:500])


def _any_campaign() -> list[tuple[Any, Any]]:
    return [("", _t("any")), *_campaigns()]


def _any_medium() -> list[tuple[Any, Any]]:
    return [("", _t("any")), *Medium.choices]


def _schema(name: str, required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", *required],
        "properties": {"kind": {"const": name}, **properties},
    }


OPERATOR = {"enum": [name for name, _label in COMPARISONS]}
CAMPAIGN = {"type": "integer", "minimum": 1}
OF_MEDIUM = {"enum": list(Medium.values)}
WHERE = (
    RuleField("campaign", _("Campaign"), "choice", _any_campaign, required=False),
    RuleField("medium", _("Medium"), "choice", _any_medium, required=False),
    RuleField("days", _("In the last days"), "number", required=False, help=_("Empty: ever")),
)
HOW_OFTEN = (
    RuleField("op", _("Comparison"), "choice", lambda: COMPARISONS),
    RuleField("value", _("Times"), "number"),
)

TOUCH = RuleKind(
    label=_("Touches"),
    group=GROUP,
    schema=_schema(
        "touch",
        ["outcome", "op", "value"],
        outcome={"enum": list(OUTCOMES)},
        op=OPERATOR,
        value=COUNT,
        campaign=CAMPAIGN,
        medium=OF_MEDIUM,
        days=DAYS,
    ),
    matching=touches,
    complement=_complement,
    sentence=_touches_in_words,
    fields=(
        RuleField(
            "outcome", _("Outcome"), "choice", lambda: [(name, told[0]) for name, told in OUTCOMES.items()]
        ),
        *HOW_OFTEN,
        *WHERE,
    ),
)

RESPONSE = RuleKind(
    label=_("Responses"),
    group=GROUP,
    schema=_schema(
        "response",
        ["response", "op", "value"],
        response={"enum": list(ResponseKind.values)},
        op=OPERATOR,
        value=COUNT,
        campaign=CAMPAIGN,
        medium=OF_MEDIUM,
        days=DAYS,
    ),
    matching=responses,
    complement=_complement,
    sentence=_responses_in_words,
    fields=(RuleField("response", _("Response"), "choice", lambda: ResponseKind.choices), *HOW_OFTEN, *WHERE),
)

MEMBER = RuleKind(
    label=_("Member of a campaign"),
    group=GROUP,
    schema=_schema(
        "member", ["campaign"], campaign=CAMPAIGN, side={"enum": [name for name, _label in SIDES]}
    ),
    matching=members,
    sentence=_members_in_words,
    fields=(
        RuleField("campaign", _("Campaign"), "choice", _campaigns),
        RuleField("side", _("Side"), "choice", lambda: SIDES, required=False),
    ),
)

PRESSURE = RuleKind(
    label=_("Pressure"),
    group=GROUP,
    schema=_schema(
        "pressure",
        ["op", "value", "hours"],
        op=OPERATOR,
        value=COUNT,
        hours={"type": "integer", "minimum": 1, "maximum": SHORTEST_KEPT},
    ),
    matching=pressed,
    complement=_complement,
    sentence=_pressed_in_words,
    fields=(
        *HOW_OFTEN,
        RuleField(
            "hours", _("In the last hours"), "number", help=_("Up to 168: a week of contacts is always kept.")
        ),
    ),
)


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    rule_kinds.add("touch", TOUCH)
    rule_kinds.add("response", RESPONSE)
    rule_kinds.add("member", MEMBER)
    rule_kinds.add("pressure", PRESSURE)
