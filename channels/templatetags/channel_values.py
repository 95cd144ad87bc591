"""How values of channels are shown: ``{% load channel_values %}``."""

import json
from typing import Any

from django import template

from audiences.templatetags.evenreach import decimal, money

register = template.Library()


@register.filter
def as_json(value: Any) -> str:
    """A rule's value as it is written: ``{{ rule.value|as_json }}`` → {"from": "08:00", "to": "21:00"}."""
    return json.dumps(value, ensure_ascii=False)


@register.filter
def in_unit(amount: Any, unit: str) -> str:
    """Money with its currency, or a number of messages of a package."""
    if len(unit) == 3 and unit.isupper():
        return money(amount, unit)
    return f"{decimal(amount, 0)} {unit}"


@register.filter
def minus(amount: Any) -> str:
    """An amount that leaves the account."""
    return decimal(-amount if amount else amount)
