"""Finance's pages: the ledger, its periods, documents and exchange rates."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_POST

from audiences.access import ANYBODY, Role, needs
from campaigns.models import Campaign
from channels.models import Channel
from reports import ledger
from reports.accruals import post_incurred
from reports.export import csv_response
from reports.models import FxRate, LedgerEntry, LedgerPeriod

PAGE = 100
COST_ACCOUNTS = (
    LedgerEntry.Account.MEDIA_COST,
    LedgerEntry.Account.MESSAGE_FEES,
    LedgerEntry.Account.AGENCY,
    LedgerEntry.Account.INCENTIVES,
    LedgerEntry.Account.CREATIVE,
    LedgerEntry.Account.OTHER_COST,
)


class RateForm(forms.ModelForm):
    class Meta:
        model = FxRate
        fields = ("day", "base", "quote", "rate", "source")
        widgets = {"day": forms.DateInput(attrs={"type": "date"})}
        labels = {
            "day": gettext_lazy("Date"),
            "base": gettext_lazy("One unit of"),
            "quote": pgettext_lazy("exchange rate", "in"),
            "rate": gettext_lazy("Rate"),
            "source": gettext_lazy("Source"),
        }


@needs(*ANYBODY)
def finance(request: HttpRequest) -> HttpResponse:
    """Periods with their sums, and what may be done with each."""
    cost = Q(entries__account__in=COST_ACCOUNTS)
    periods = LedgerPeriod.objects.annotate(
        lines=Count("entries"),
        debit=Sum("entries__functional_amount", filter=cost & Q(entries__side="debit")),
        credit=Sum("entries__functional_amount", filter=cost & Q(entries__side="credit")),
    )
    rates = [_shown_rate(rate) for rate in FxRate.objects.order_by("-day", "base")[:20]]
    return render(
        request,
        "reports/finance.html",
        {"periods": [_with_cost(period) for period in periods], "rates": rates, "form": RateForm()},
    )


def _shown_rate(rate: Any) -> Any:
    rate.shown = f"{rate.rate:f}".rstrip("0").rstrip(".")
    return rate


def _with_cost(period: Any) -> Any:
    period.cost = (period.debit or 0) - (period.credit or 0)
    return period


@require_POST
@needs(Role.FINANCE)
def post_costs(request: HttpRequest) -> HttpResponse:
    posted, problems = post_incurred(timezone.now(), user=request.user)
    for problem in problems:
        messages.error(request, problem)
    messages.success(request, _("%(n)s documents were posted.") % {"n": posted})
    return redirect("reports:finance")


@require_POST
@needs(Role.FINANCE)
def close_period(request: HttpRequest) -> HttpResponse:
    month = parse_date(request.POST.get("month", "")) or dt.date.min
    try:
        period = ledger.close(month, user=request.user, now=timezone.now())
        messages.success(request, _("%(month)s is closed.") % {"month": period})
    except ledger.LedgerRefused as refused:
        messages.error(request, str(refused))
    return redirect("reports:finance")


@require_POST
@needs(Role.FINANCE)
def add_rate(request: HttpRequest) -> HttpResponse:
    form = RateForm(request.POST)
    if form.is_valid():
        form.save()
        messages.success(request, _("The rate is kept."))
        return redirect("reports:finance")
    messages.error(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
    return redirect("reports:finance")


@needs(*ANYBODY)
def ledger_rows(request: HttpRequest) -> HttpResponseBase:
    """Ledger lines, narrowed by campaign, channel, account or period; as CSV too."""
    entries = LedgerEntry.objects.select_related("batch", "document", "period").order_by("-id")
    narrowed: list[tuple[Any, Any]] = []
    campaign_id, channel_id = request.GET.get("campaign", ""), request.GET.get("channel", "")
    campaign = None
    if campaign_id.isdigit() and len(campaign_id) < 19:
        entries = entries.filter(campaign_id=int(campaign_id))
        campaign = Campaign.objects.filter(pk=int(campaign_id)).first()
        narrowed.append((_("Campaign"), campaign or campaign_id))
    names = dict(Channel.objects.values_list("pk", "name"))
    if channel_id == "none":
        entries = entries.filter(channel_id=None)
        narrowed.append((_("Channel"), _("none")))
    elif channel_id.isdigit() and len(channel_id) < 19:
        entries = entries.filter(channel_id=int(channel_id))
        narrowed.append((_("Channel"), names.get(int(channel_id), channel_id)))
    account = request.GET.get("account", "")
    if account == "cost":
        entries = entries.filter(account__in=COST_ACCOUNTS)
        narrowed.append((_("Account"), _("all costs")))
    elif account in LedgerEntry.Account.values:
        entries = entries.filter(account=account)
        narrowed.append((_("Account"), LedgerEntry.Account(account).label))
    period = parse_date(request.GET.get("period", "") + "-01") if request.GET.get("period") else None
    if period:
        entries = entries.filter(period__month=period)
        narrowed.append((_("Period"), f"{period:%Y-%m}"))
    if request.GET.get("format") == "csv":
        return csv_response(
            "ledger.csv", LEDGER_COLUMNS, (_ledger_row(entry, names) for entry in entries.iterator(2000))
        )
    sums = (
        entries.order_by()
        .values("currency")
        .annotate(
            debit=Sum("amount", filter=Q(side="debit")),
            credit=Sum("amount", filter=Q(side="credit")),
            lines=Count("pk"),
        )
    )
    page = Paginator(entries, PAGE).get_page(request.GET.get("page"))
    for entry in page:
        entry.channel_name = names.get(entry.channel_id or 0, "")  # type: ignore[attr-defined]
    return render(
        request,
        "reports/ledger.html",
        {
            "page": page,
            "narrowed": narrowed,
            "campaign": campaign,
            "sums": [row | {"balance": (row["debit"] or 0) - (row["credit"] or 0)} for row in sums],
        },
    )


LEDGER_COLUMNS = (
    "batch",
    "line",
    "side",
    "stage",
    "account",
    "campaign",
    "channel",
    "service_date",
    "period",
    "amount",
    "residual",
    "currency",
    "fx_rate",
    "functional_amount",
    "document",
    "allocation",
)


def _ledger_row(entry: LedgerEntry, names: dict[int, str]) -> tuple[Any, ...]:
    return (
        entry.batch_id,
        entry.line,
        entry.side,
        entry.stage,
        entry.account,
        entry.campaign_id,
        names.get(entry.channel_id or 0, ""),
        entry.service_date,
        entry.period,
        entry.amount,
        entry.residual,
        entry.currency,
        entry.fx_rate,
        entry.functional_amount,
        entry.document.number,
        entry.allocation,
    )
