"""Rows of platform rules, saved and ended: what must follow a changed rule does so in the same transaction."""

from datetime import date, datetime

from django.db import transaction

from channels.models import PlatformRule
from channels.registers import rule_changes


@transaction.atomic
def save(rule: PlatformRule, now: datetime) -> list[str]:
    """Keep a new or corrected row; what it did to running campaigns, in words."""
    rule.save()
    return _followed(now)


@transaction.atomic
def end(rule: PlatformRule, day: date, now: datetime) -> list[str]:
    """The row holds for the last time on ``day``; what that did, in words."""
    PlatformRule.objects.filter(pk=rule.pk).update(valid_to=day)
    return _followed(now)


def _followed(now: datetime) -> list[str]:
    return [text for follow in rule_changes for text in follow(now)]
