"""How values of channels are shown: ``{% load channel_values %}``."""

from typing import Any

from django import template
from django.utils.translation import gettext as _

from audiences.templatetags.evenreach import decimal, money
from channels import rule_sources
from channels.platform_rules import DAYS_IN_MONTH

register = template.Library()


@register.filter
def in_words(value: Any) -> str:
    """A rule's value for people: hours as 08:00–21:00, words with commas, yes or no; the rest as it is."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if value == DAYS_IN_MONTH:
        return _("as many as the month has days")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict) and set(value) == {"from", "to"}:
        return f"{value['from']}–{value['to']}"
    if isinstance(value, dict):
        return "; ".join(f"{name} {in_words(one)}" for name, one in value.items())
    return str(value)


@register.filter
def who_says(source: str) -> str:
    """The source of a rule."""
    return rule_sources.in_words(source)


@register.filter
def in_unit(amount: Any, unit: str) -> str:
    """Money with its currency, or a number of messages of a package."""
    if len(unit) == 3 and unit.isupper():
        return money(amount, unit)
    return f"{decimal(amount, 0)} {unit_name(unit)}"


@register.filter
def unit_name(unit: str) -> str:
    """A currency as it is; the unit of a package in words."""
    return _("messages") if unit == "messages" else unit


@register.filter
def minus(amount: Any) -> str:
    """An amount that leaves the account."""
    return decimal(-amount if amount else amount)
