"""Charts of the coverage pages. Each has a table of the same numbers beside it."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from django.utils.translation import gettext as _

from reports.coverage import Count

GREEN, YELLOW, RED, BLUE, GREY = "#2fb344", "#f59f00", "#d63939", "#4299e1", "#a8b4c4"


def _bars(
    categories: Sequence[str], series: Iterable[tuple[str, str, Sequence[int]]], stack: str = ""
) -> dict[str, Any]:
    found = [
        {"type": "bar", "name": name, "color": colour, "data": list(data)}
        | ({"stack": stack} if stack else {})
        for name, colour, data in series
    ]
    return {
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "legend": {"bottom": 0} if len(found) > 1 else {"show": False},
        "grid": {"left": 60, "right": 16, "top": 16, "bottom": 56 if len(found) > 1 else 40},
        "xAxis": {"type": "category", "name": "", "data": list(categories)},
        "yAxis": {"type": "value"},
        "series": found,
    }


def histogram(bars: Sequence[dict[str, int]]) -> dict[str, Any]:
    series = (
        ("below", _("Below target"), YELLOW),
        ("full", _("Full target"), GREEN),
        ("beyond", _("Beyond target"), RED),
    )
    received = [str(bar["received"]) for bar in bars]
    return _bars(
        received, [(name, colour, [bar[key] for bar in bars]) for key, name, colour in series], "people"
    )


def days(found: Sequence[tuple[dt.date, Count]]) -> dict[str, Any]:
    """Stacked: what was due on a day is the whole bar."""
    counts = [count for _day, count in found]
    others = [count.unknown + count.unobserved + count.released_total for count in counts]
    series = [
        (_("Reached"), GREEN, [count.reached for count in counts]),
        (_("Still open"), BLUE, [count.pending for count in counts]),
        (_("Released or unknown"), GREY, others),
        (_("Gap"), YELLOW, [count.gap for count in counts]),
    ]
    return _bars([day.isoformat() for day, _count in found], series, "touches")


def contacts(hits: Sequence[dict[str, int]]) -> dict[str, Any]:
    return _bars(
        [str(hit["contacts"]) for hit in hits], [(_("People"), BLUE, [hit["people"] for hit in hits])]
    )


def bar(total: Count, labels: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of the target, left to right, on a scale of 1,000."""
    parts = (
        ("reached", total.reached, "part-reached"),
        ("pending", total.pending, "part-pending"),
        ("unobserved", total.unobserved, "part-unknown"),
        ("unknown", total.unknown, "part-unknown"),
        ("released", total.released_total, "part-released"),
        ("gap", total.gap, "part-gap"),
    )
    shown, x = [], 0.0
    for figure, touches, css in parts:
        if not touches and figure in ("unobserved", "unknown"):
            continue
        share = touches / total.target if total.target else 0.0
        shown.append(
            {
                "figure": figure,
                "label": labels[figure],
                "touches": touches,
                "share": share,
                "css": css,
                "x": f"{x:.2f}",
                "width": f"{share * 1000:.2f}",
            }
        )
        x += share * 1000
    return shown
