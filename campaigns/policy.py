"""The contact policy as people read and change it; how it is kept is in :mod:`campaigns.pressure`."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from audiences.vocabulary import Medium
from campaigns import pressure
from campaigns.models import PressureRule


def sentence(rule: PressureRule) -> str:
    """What a rule means for one person, in words."""
    if rule.touches == 0:
        return _("Nobody is contacted%(where)s.") % {"where": _where(rule)}
    times = ngettext("once", "%(n)d times", rule.touches) % {"n": rule.touches}
    return _("A person is contacted at most %(times)s in any %(window)s%(where)s, over all campaigns.") % {
        "times": times,
        "window": window(rule.hours),
        "where": _where(rule),
    }


def window(hours: int) -> str:
    """``36`` → 36 hours; ``168`` → 7 days."""
    if hours % 24 == 0:
        days = hours // 24
        return ngettext("%(n)d day on end", "%(n)d days on end", days) % {"n": days}
    return ngettext("%(n)d hour on end", "%(n)d hours on end", hours) % {"n": hours}


def _where(rule: PressureRule) -> str:
    parts = []
    if rule.channel is not None:
        parts.append(_(" on channel “%(name)s”") % {"name": rule.channel.name})
    elif rule.medium:
        parts.append(_(" by %(medium)s") % {"medium": dict(Medium.choices).get(rule.medium, rule.medium)})
    if rule.brand is not None:
        parts.append(_(" of brand %(name)s") % {"name": rule.brand.name})
    return "".join(parts)


# What a rule says; any change of it is a new rule, which takes force when its window's contacts are known.
MEANING = ("touches", "hours", "medium", "channel_id", "brand_id", "active")


def save(rule: PressureRule, now: datetime) -> PressureRule:
    """Keep a rule. One whose meaning changed waits until the next look at the policy brings it into force.

    The policy changes only between claims, so no contact is judged half by the old and half by the new one.
    """
    with transaction.atomic():
        pressure.hold_policy()
        before: dict[str, Any] | None = (
            PressureRule.objects.filter(pk=rule.pk).values(*MEANING).first() if rule.pk else None
        )
        if before is None or any(before[name] != getattr(rule, name) for name in MEANING):
            known = before is not None and _same_window(before, rule)
            if not known and before and before["active"] and rule.in_force_at and rule.active:
                # One that holds is never without force while its contacts are known: nobody would be capped meanwhile.
                known = rule.hours <= pressure.complete_hours()
            rule.in_force_at = rule.in_force_at if known else None
        rule.save()
        return rule


def _same_window(before: dict[str, Any], rule: PressureRule) -> bool:
    """The same window over the same contacts with another number: its contacts are known already."""
    same = all(before[name] == getattr(rule, name) for name in ("hours", "medium", "channel_id", "brand_id"))
    return same and bool(before["active"]) and rule.active


def delete(rule: PressureRule) -> None:
    with transaction.atomic():
        pressure.hold_policy()
        rule.delete()
