"""KOL accounts, ranked by what they bring for their fees."""

from datetime import date, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, needs
from audiences.csv_file import csv_response
from channels import kol as rules
from channels.kol_forms import KolAccountForm
from channels.models import KolAccount

EDITORS = (Role.CHANNEL_ADMIN, Role.MARKETER)
SPAN = timedelta(days=365)
MEASURES = (
    ("visits", gettext_lazy("Visits")),
    ("orders", gettext_lazy("Orders")),
    ("revenue", gettext_lazy("Revenue")),
)
COLUMNS = (
    "rank", "account", "platform", "handle", "channel", "followers", "posts", "fee", "currency", "visits", "orders",
    "revenue", "share", "per_fee", "by",
)  # fmt: skip


def _asked(request: HttpRequest) -> tuple[date, date, str]:
    """First and last day, and the measure; the last year by visits unless told. Nonsense is left out."""
    last = _day(request.GET.get("to", "")) or timezone.localdate()
    first = _day(request.GET.get("from", "")) or last - SPAN
    by = request.GET.get("by", "")
    return min(first, last), max(first, last), by if by in rules.MEASURES else "visits"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


@needs(*ANYBODY)
@require_safe
def accounts(request: HttpRequest) -> HttpResponse:
    """Who brought how much for a yuan of fee, best first."""
    first, last, by = _asked(request)
    shown: dict[str, Any] = {
        "rows": rules.ranking(first, last, by),
        "first": first,
        "last": last,
        "by": by,
        "measures": MEASURES,
        "days": rules.DAYS_AFTER_VISIT,
        "any": KolAccount.objects.exists(),
    }
    return render(request, "channels/_kol.html" if request.htmx else "channels/kol.html", shown)  # type: ignore[attr-defined]


@needs(*ANYBODY)
@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The ranking as CSV."""
    first, last, by = _asked(request)
    rows = (
        (
            row.rank, row.account.name, row.account.platform, row.account.handle, row.account.channel.name,
            row.account.followers, row.posts, row.fee, row.account.channel.currency, row.visits, row.orders,
            row.revenue, None if row.share is None else f"{row.share:.4f}",
            None if row.per_fee is None else f"{row.per_fee:.6f}", by,
        )
        for row in rules.ranking(first, last, by)
    )  # fmt: skip
    return csv_response(f"kol-{first}-{last}.csv", COLUMNS, rows)


@needs(*EDITORS)
def new_account(request: HttpRequest) -> HttpResponse:
    return _edit(request, KolAccount())


@needs(*EDITORS)
def account(request: HttpRequest, pk: int) -> HttpResponse:
    """Change an account."""
    return _edit(request, get_object_or_404(KolAccount, pk=pk))


def _edit(request: HttpRequest, account: KolAccount) -> HttpResponse:
    form = KolAccountForm(request.POST or None, instance=account)
    if account.pk and account.placements.exists():
        form.fields["channel"].disabled = True  # its posts were paid for on that channel
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("%(name)s is saved.") % {"name": form.instance.name})
        return redirect("channels:kol")
    shown = {"form": form, "account": account}
    return render(request, "channels/kol_account.html", shown, status=422 if form.errors else 200)


@needs(*EDITORS)
@require_POST
def archive_account(request: HttpRequest, pk: int) -> HttpResponse:
    """Out of the lists, or back; what it brought stays."""
    found = get_object_or_404(KolAccount, pk=pk)
    found.archived_at = None if found.archived_at else timezone.now()
    found.save(update_fields=["archived_at"])
    text = _("%(name)s is archived.") if found.archived_at else _("%(name)s is back.")
    messages.success(request, text % {"name": found.name})
    return redirect("channels:kol")
