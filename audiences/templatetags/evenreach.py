"""Numbers, money, time, icons and the side navigation, for every template: ``{% load evenreach %}``."""

import json
import re
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.template.base import NodeList, Parser, Token
from django.template.context import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from audiences import navigation as places
from audiences.access import Role, has_role, roles_of

register = template.Library()

NOTHING = "–"  # what a missing number looks like; zero is written as 0
MINUS = "\u2212"
SIGNS = {
    "CNY": "¥",
    "USD": "US$",
    "EUR": "€",
    "GBP": "£",
    "HKD": "HK$",
    "TWD": "NT$",
    "JPY": "JP¥",
    "SGD": "S$",
}
WITHOUT_CENTS = frozenset({"JPY", "KRW", "VND"})


def _decimal(value: Any) -> Decimal | None:
    """The value as a number; None for None, the empty string and what is no number."""
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _grouped(number: Decimal, digits: int) -> str:
    rounded = number.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
    text = f"{abs(rounded):,.{digits}f}"  # alike in both languages: Django's Chinese would not group
    return f"{MINUS}{text}" if rounded < 0 else text


@register.filter
def count(value: Any) -> str:
    """``{{ 1234567|count }}`` → 1,234,567; a dash for None."""
    number = _decimal(value)
    return NOTHING if number is None else _grouped(number, 0)


@register.filter
def decimal(value: Any, digits: int = 2) -> str:
    """``{{ 1.5|decimal:1 }}`` → 1.5, grouped; a dash for None."""
    number = _decimal(value)
    return NOTHING if number is None else _grouped(number, int(digits))


@register.filter
def percent(share: Any, digits: int = 1) -> str:
    """A share of 1: ``{{ 0.1889|percent:2 }}`` → 18.89%; a dash for None."""
    number = _decimal(share)
    return NOTHING if number is None else f"{_grouped(number * 100, int(digits))}%"


@register.filter
def money(amount: Any, currency: str = "") -> str:
    """``{{ amount|money:campaign.currency }}`` → ¥1,234.50. Rounded half-even for the eye only."""
    code = currency or settings.DEFAULT_CURRENCY
    return _with_currency(amount, code, 0 if code in WITHOUT_CENTS else 2)


@register.filter
def price(amount: Any, currency: str = "") -> str:
    """A unit price, unrounded to six places: ``{{ 0.045|price:"CNY" }}`` → ¥0.045."""
    code = currency or settings.DEFAULT_CURRENCY
    number = _decimal(amount)
    if number is None:
        return NOTHING
    exponent = number.normalize().as_tuple().exponent
    places_needed = -exponent if isinstance(exponent, int) else 2
    return _with_currency(number, code, min(6, max(2, places_needed)))


def _with_currency(amount: Any, code: str, digits: int) -> str:
    number = _decimal(amount)
    if number is None:
        return NOTHING
    text = _grouped(number, digits)
    minus, bare = (MINUS, text[1:]) if text.startswith(MINUS) else ("", text)
    sign = SIGNS.get(code)
    return f"{minus}{sign}{bare}" if sign else f"{code}\u00a0{minus}{bare}"


@register.filter
def when(moment: Any) -> SafeString | str:
    """A moment in the reader's zone, as ``2026-03-01 09:30``; seconds and zone on hover. Dates as they are."""
    if isinstance(moment, datetime):
        local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
        return format_html(
            '<time class="num" datetime="{}" title="{}">{}</time>',
            local.isoformat(),
            local.strftime("%Y-%m-%d %H:%M:%S %Z"),
            local.strftime("%Y-%m-%d %H:%M"),
        )
    if isinstance(moment, date):
        return format_html('<time class="num" datetime="{0}">{0}</time>', moment.isoformat())
    return NOTHING


@register.filter
def lasting(seconds: Any) -> str:
    """Seconds in words: ``{{ 3725|lasting }}`` → 1 h 2 min."""
    number = _decimal(seconds)
    if number is None:
        return NOTHING
    whole = max(0, int(number))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": left}
    return _("%(seconds)d s") % {"seconds": left}


@register.filter
def entry(mapping: Any, key: Any) -> Any:
    """``{{ mapping|entry:key }}``: the value under a key that is itself a variable; None when missing."""
    return mapping.get(key) if hasattr(mapping, "get") else None


@register.filter
def label_of(value: Any, choices: Any) -> Any:
    """The label of a choice: ``{{ stage|label_of:stages }}``, where ``stages`` are (value, label) pairs."""
    return dict(choices).get(value, value)


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """A Tabler icon, inline, hidden from screen readers. Empty while the icons are not installed."""
    drawing = _drawing(name)
    if not drawing:
        return SafeString("")
    # Written by us but for the drawing, which comes from an installed package.
    return mark_safe(f'<svg class="icon {re.sub(r"[^a-z0-9 -]", "", classes)}" {SVG_HEAD}>{drawing}</svg>')  # noqa: S308


SVG_HEAD = (
    'width="24" height="24" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"'
)


@lru_cache(maxsize=512)
def _drawing(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", name):
        return ""
    path = Path(settings.BASE_DIR) / "node_modules/@tabler/icons/icons/outline" / f"{name}.svg"
    try:
        text = path.read_text()
    except OSError:
        return ""
    return " ".join(re.findall(r'<path d="[^"]+" />', text))


@register.inclusion_tag("parts/navigation.html", takes_context=True)
def navigation(context: Context) -> dict[str, Any]:
    """The side navigation: entries of :data:`audiences.registers.navigation` the user may open, by group."""
    request = context.get("request")
    if request is None or not hasattr(request, "user"):
        return {"groups": []}
    return {"groups": places.groups(request.user, request.path)}


@register.simple_tag
def can(user: Any, *roles: str) -> bool:
    """``{% can user "marketer" "finance" as may_edit %}``: whether the user has one of the roles."""
    return has_role(user, *roles)


@register.simple_tag
def role_names(user: Any) -> str:
    """The roles of a user in words: ``Marketer, Finance``; an administrator has all of them."""
    if user.is_superuser:
        return _("Administrator")
    known = roles_of(user)
    return ", ".join(str(role.label) for role in Role if role.value in known) or _("No role")


COLOURS = {
    "green": "done finished accepted delivered active ready approved reviewed sent valid confirmed matched",
    "blue": "running scheduled submitted planned claimed loading checking",
    "azure": "waiting draft pending mapped new",
    "yellow": "paused deferred unknown warning cancelling",
    "red": "failed stopped refused bounced error rejected expired over overspent revoked",
}
_COLOUR_OF = {state: colour for colour, states in COLOURS.items() for state in states.split()}


@register.filter
def colour(state: Any) -> str:
    """The Tabler colour of a state's badge; one meaning, one colour, on every screen."""
    return _COLOUR_OF.get(str(state), "secondary")


@register.filter
def pages_near(paginator: Any, number: int) -> list[int | None]:
    """Page numbers around the current one, with None where numbers are left out."""
    wanted = sorted({1, 2, number - 1, number, number + 1, paginator.num_pages} & set(paginator.page_range))
    shown: list[int | None] = []
    for one in wanted:
        if shown and one - (shown[-1] or one) > 1:
            shown.append(None)
        shown.append(one)
    return shown


@register.simple_tag
def chart(option: Any, size: str = "md", label: str = "") -> SafeString:
    """An ECharts chart from its option (a dict). Put a table behind it for who cannot see it.

    ``size`` is sm, md or lg; load ``js/charts.js`` in the ``scripts`` block.
    """
    text = json.dumps(option, ensure_ascii=False, default=str)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return format_html(
        '<div class="chart chart-{}" role="img" aria-label="{}">'
        '<script type="application/json" data-chart>{}</script></div>',
        size if size in {"sm", "md", "lg"} else "md",
        label,
        SafeString(text),
    )


class KeepNode(template.Node):
    def __init__(self, nodelist: NodeList, name: str) -> None:
        self.nodelist = nodelist
        self.name = name

    def render(self, context: Context) -> SafeString:
        context[self.name] = SafeString(self.nodelist.render(context).strip())  # rendered: escaped already
        return SafeString("")


@register.tag
def keep(parser: Parser, token: Token) -> KeepNode:
    """``{% keep page_title %}{% block title %}{% endblock %}{% endkeep %}``: render once, use twice."""
    parts = token.split_contents()
    if len(parts) != 2:
        raise template.TemplateSyntaxError("keep takes one name")
    nodelist = parser.parse(("endkeep",))
    parser.delete_first_token()
    return KeepNode(nodelist, parts[1])
