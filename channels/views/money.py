"""What channels cost: the sheet of daily spend, the reports behind it, wallets."""

from datetime import date, timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, Role, needs
from channels import balances, packages, spend_sheet
from channels import wallets as rules
from channels.adapters.base import AdapterError
from channels.models import Channel, DailyReport, WalletEntry
from channels.queries import money

LONGEST = 366


def _span(request: HttpRequest) -> tuple[date, date, int | None]:
    """First and last day, and the channel asked for; the last 14 days by default. Nonsense is left out."""
    today = timezone.localdate()
    last = _day(request.GET.get("to", "")) or today
    first = _day(request.GET.get("from", "")) or last - timedelta(days=13)
    if first > last:
        first, last = last, first
    first = max(first, last - timedelta(days=LONGEST))
    channel = request.GET.get("channel", "")
    return first, last, int(channel) if channel.isdecimal() else None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


@needs(*ANYBODY)
def spend(request: HttpRequest) -> HttpResponse:
    """Day by day and channel by channel, the newest version of what was reported."""
    first, last, channel = _span(request)
    channels = Channel.objects.in_bulk()
    rows = [
        {
            "day": day,
            "channel": channels[pk],
            "currency": currency,
            "spend": spent,
            "exposures": exposures,
            "clicks": clicks,
            "placements": placements,
            "version": version,
            "fetched_at": fetched_at,
        }
        for day, pk, currency, spent, exposures, clicks, placements, version, fetched_at in money.sheet(
            first, last, channel
        )
    ]
    totals = [
        {
            "channel": channels[pk],
            "currency": currency,
            "spend": spent,
            "exposures": exposures,
            "clicks": clicks,
        }
        for pk, currency, spent, exposures, clicks in money.totals(first, last, channel)
    ]
    shown = {
        "rows": rows,
        "totals": totals,
        "first": first,
        "last": last,
        "channel_id": channel,
        "channels": Channel.objects.order_by("name"),
        "any": DailyReport.objects.exists(),
    }
    template = "channels/_spend.html" if request.htmx else "channels/spend.html"  # type: ignore[attr-defined]
    return render(request, template, shown)


@needs(*ANYBODY)
def sheet(request: HttpRequest) -> HttpResponse:
    """Every account on one day: balance, what came in and went out, budget and pace. Yesterday by default."""
    day = _day(request.GET.get("day", "")) or timezone.localdate() - timedelta(days=1)
    shown = {
        "sheet": spend_sheet.sheet(day),
        "day": day,
        "before": day - timedelta(days=1),
        "after": day + timedelta(days=1),
        "lately": spend_sheet.LATELY,
    }
    return render(request, "channels/sheet.html", shown)


@needs(*ANYBODY)
def reports(request: HttpRequest) -> HttpResponse:
    """The rows behind the sheet, every version of them."""
    first, last, channel = _span(request)
    found = DailyReport.objects.filter(day__range=(first, last)).select_related("channel", "import_batch")
    if channel is not None:
        found = found.filter(channel_id=channel)
    found = found.order_by("-day", "channel__name", "placement", "-version")
    newest = set(
        DailyReport.objects.filter(day__range=(first, last))
        .order_by("channel_id", "day", "placement", "-version")
        .distinct("channel_id", "day", "placement")
        .values_list("pk", flat=True)
    )
    shown = {
        "page": Paginator(found, 100).get_page(request.GET.get("page")),
        "newest": newest,
        "first": first,
        "last": last,
        "channel_id": channel,
        "channels": Channel.objects.order_by("name"),
    }
    return render(request, "channels/reports.html", shown)


@needs(*ANYBODY)
def wallets(request: HttpRequest) -> HttpResponse:
    """What is left in each account, by our entries and by the platform's word."""
    _first, last, channel = _span(request)
    entries = WalletEntry.objects.select_related("channel").filter(day__lte=last).order_by("-day", "-id")
    if channel is not None:
        entries = entries.filter(channel_id=channel)
    shown = {
        "fetched": any(balances.told_by_platform(one) for one in _asked(channel)),
        "wallets": rules.of_channels(last, channel),
        "packages": _packages(last, channel),
        "last": last,
        "channel_id": channel,
        "page": Paginator(entries, 50).get_page(request.GET.get("page")),
        "channels": Channel.objects.order_by("name"),
        "any": WalletEntry.objects.exists(),
    }
    return render(request, "channels/wallets.html", shown)


def _asked(channel: int | None) -> QuerySet[Channel]:
    """Channels whose platform may be asked for what is left."""
    found = Channel.objects.filter(state=Channel.State.ACTIVE).select_related("brand").order_by("pk")
    return found if channel is None else found.filter(pk=channel)


@needs(Role.FINANCE, Role.CHANNEL_ADMIN)
@require_POST
def fetch_balances(request: HttpRequest) -> HttpResponse:
    """Ask platforms now what is left; what cannot be asked is told."""
    channel = request.POST.get("channel", "")
    done, now = 0, timezone.now()
    for one in _asked(int(channel) if channel.isdecimal() else None):
        if not balances.told_by_platform(one):
            continue
        try:
            balances.fetch(one, now)
            done += 1
        except AdapterError as error:
            messages.error(request, f"{one.name}: {error}")
    if done:
        messages.success(
            request,
            ngettext(
                "The balance of %(n)d channel is fetched.", "Balances of %(n)d channels are fetched.", done
            )
            % {"n": done},
        )
    where = reverse("channels:wallets")
    return redirect(f"{where}?channel={channel}" if channel.isdecimal() else where)


def _packages(last: date, channel: int | None) -> list[tuple[Channel, packages.Packages]]:
    """Channels with message packages that have something left or went over."""
    found = packages.of_channels(last, channel)
    channels = Channel.objects.in_bulk(found)
    rows = [(channels[pk], one) for pk, one in found.items() if one.open or one.overdrawn]
    return sorted(rows, key=lambda row: row[0].name)
