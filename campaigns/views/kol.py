"""Posts of KOL accounts: what is to come, what is out, what it brought."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, needs
from audiences.csv_file import csv_response
from campaigns import kol as rules
from campaigns.kol_forms import KolPostForm
from campaigns.models import Campaign
from channels import kol
from channels.models import KolAccount, KolPlacement

EDITORS = (Role.MARKETER, Role.CHANNEL_ADMIN)
PAGE = 50
COLUMNS = (
    "id", "campaign", "account", "platform", "day", "state", "posted_on", "fee", "currency", "code", "link",
    "post", "visits", "orders", "revenue",
)  # fmt: skip


def _found(request: HttpRequest) -> Any:
    posts = KolPlacement.objects.select_related("account__channel", "link")
    campaign = request.GET.get("campaign", "")
    return posts.filter(campaign_id=int(campaign)) if campaign.isdecimal() else posts


def _rows(posts: list[KolPlacement]) -> list[dict[str, Any]]:
    """Each post with its campaign, its link and what it brought."""
    campaigns = Campaign.objects.in_bulk({post.campaign_id for post in posts})
    brought = kol.brought(posts)
    rows = []
    for post in posts:
        visits, orders, revenue = brought.get(post.pk, (None, None, None))
        rows.append(
            {
                "post": post,
                "campaign": campaigns.get(post.campaign_id),
                "tracked_url": kol.tracked_url(post),
                "visits": visits,
                "orders": orders,
                "revenue": revenue,
            }
        )
    return rows


@needs(*ANYBODY)
@require_safe
def posts(request: HttpRequest) -> HttpResponse:
    """Every post, or those of a campaign, the newest day first."""
    page = Paginator(_found(request), PAGE).get_page(request.GET.get("page"))
    chosen = request.GET.get("campaign", "")
    used = KolPlacement.objects.values("campaign_id")
    shown = {
        "page": page,
        "rows": _rows(list(page)),
        "chosen": int(chosen) if chosen.isdecimal() else None,
        "campaigns": Campaign.objects.filter(pk__in=used).order_by("name"),
        "today": timezone.localdate(),
        "any": KolAccount.objects.exists(),
    }
    return render(request, "campaigns/kol_posts.html", shown)


@needs(*ANYBODY)
@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The posts as CSV."""
    rows = (
        (
            row["post"].pk, row["campaign"].name if row["campaign"] else row["post"].campaign_id,
            row["post"].account.name, row["post"].account.platform, row["post"].day, row["post"].state,
            row["post"].posted_on, row["post"].fee, row["post"].account.channel.currency, row["post"].code,
            row["tracked_url"], row["post"].post_url, row["visits"], row["orders"], row["revenue"],
        )
        for row in _rows(list(_found(request)))
    )  # fmt: skip
    return csv_response("kol-posts.csv", COLUMNS, rows)


@needs(*EDITORS)
def new_post(request: HttpRequest) -> HttpResponse:
    """A post for a campaign: its account, day, fee and link."""
    asked = {name: request.GET[name] for name in ("campaign", "account") if name in request.GET}
    form = KolPostForm(request.POST or None, initial=asked)
    if request.method == "POST" and form.is_valid():
        try:
            post = rules.place(**form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(
                request, _("The post is planned. Give its link to %(name)s.") % {"name": post.account.name}
            )
            return redirect("campaigns:kol_posts")
    shown = {"form": form, "any_campaign": bool(rules.campaigns_with_posts())}
    return render(request, "campaigns/kol_post.html", shown, status=422 if form.errors else 200)


@needs(*EDITORS)
@require_POST
def posted(request: HttpRequest, pk: int) -> HttpResponse:
    """It is out: today, at this address."""
    found = get_object_or_404(KolPlacement, pk=pk)
    try:
        rules.posted(found, timezone.localdate(), timezone.now(), request.POST.get("post_url", "").strip())
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("Noted: the post is out, its fee is spent."))
    return redirect("campaigns:kol_posts")


@needs(*EDITORS)
@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """It does not come, or was taken back."""
    rules.cancel(get_object_or_404(KolPlacement, pk=pk), timezone.now())
    messages.success(request, _("The post is cancelled; a fee already counted is taken back."))
    return redirect("campaigns:kol_posts")
