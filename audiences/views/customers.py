"""Customers: the list, the page of one, and what can be done with one."""

import json
from typing import Any

from django.contrib import messages
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences import consent, customer_page, erasure, finding, personal_export, tagging
from audiences import merge as merging
from audiences.access import ANYBODY, Role, needs
from audiences.models import Brand, Customer, CustomerTag, Identity, Merge, Tag
from audiences.registers import customer_panels
from audiences.vocabulary import Medium, Stage

SHOWN_IDENTITIES = 3


@needs(*ANYBODY)
@require_safe
def customers(request: HttpRequest) -> HttpResponse:
    """Customers, newest first; searched by any identity or name."""
    words, stage, tag = (request.GET.get(name, "").strip() for name in ("q", "stage", "tag"))
    found = finding.search(
        words,
        stage=stage if stage in Stage.values else "",
        tag=int(tag) if tag.isdigit() else None,
        after=request.GET.get("after", ""),
    )
    _with_identities(found.customers)
    context = {
        "found": found,
        "words": words,
        "stage": stage,
        "tag": tag,
        "stages": Stage.choices,
        "tags": Tag.objects.order_by("group", "name")[:500],
        "filtered": bool(words or stage or tag),
        "first_page": not request.GET.get("after"),
    }
    template = "audiences/_customers.html" if request.htmx else "audiences/customers.html"  # type: ignore[attr-defined]
    return render(request, template, context)


def _with_identities(people: Any) -> None:
    """Put ``known_by`` on each: a few identities, and how many more there are."""
    found: dict[int, list[Identity]] = {one.pk: [] for one in people}
    for one in Identity.objects.filter(customer_id__in=list(found)).order_by("kind", "pk"):
        found[one.customer_id].append(one)
    for one in people:
        one.known_by = found[one.pk][:SHOWN_IDENTITIES]
        one.known_by_more = max(0, len(found[one.pk]) - SHOWN_IDENTITIES)


@needs(*ANYBODY)
@require_safe
def customer(request: HttpRequest, pk: int) -> HttpResponse:
    """Everything known of one person. The page of an absorbed customer is the survivor's."""
    one = get_object_or_404(Customer, pk=pk)
    if one.merged_into_id:
        messages.info(request, _("Customer %(pk)s was merged into this one.") % {"pk": pk})
        return redirect("audiences:customer", one.merged_into_id)
    panels = [
        (panel.label, render_to_string(panel.template, dict(panel.context(request, pk)), request))
        for panel in customer_panels
    ]
    return render(
        request,
        "audiences/customer.html",
        {
            "page": customer_page.gather(one, timezone.now()),
            "customer": one,
            "panels": panels,
            "many_brands": Brand.objects.count() > 1,
            "tag_names": Tag.objects.order_by("name").values_list("name", flat=True)[:1000],
        },
    )


def _back(pk: int, part: str = "") -> HttpResponse:
    response = redirect("audiences:customer", pk)
    if part:
        response["Location"] += f"#{part}"
    return response


@needs(Role.MARKETER, Role.CHANNEL_ADMIN)
@require_POST
def customer_opt_out(request: HttpRequest, pk: int) -> HttpResponse:
    """The person asked not to be contacted: by one medium of one brand, or at all."""
    get_object_or_404(Customer, pk=pk)
    medium, brand = request.POST.get("medium", ""), request.POST.get("brand", "")
    if (medium and medium not in Medium.values) or (brand and not Brand.objects.filter(pk=brand).exists()):
        messages.error(request, _("There is no such medium or brand."))
        return _back(pk, "permissions")
    consent.opt_out(
        pk,
        medium,
        int(brand) if brand else None,
        _("asked by hand"),
        f"by hand: {request.user}",
        timezone.now(),
    )
    messages.success(request, _("Recorded. It holds from the next send on, and survives every load."))
    return _back(pk, "permissions")


@needs(Role.MARKETER, Role.CHANNEL_ADMIN)
@require_POST
def customer_grant(request: HttpRequest, pk: int) -> HttpResponse:
    """The person asked to be contacted; lifts an earlier opt-out of that medium and brand."""
    get_object_or_404(Customer, pk=pk)
    medium, brand = request.POST.get("medium", ""), request.POST.get("brand", "")
    source = request.POST.get("source", "").strip()
    if medium not in Medium.values or not Brand.objects.filter(pk=brand or 0).exists():
        messages.error(request, _("There is no such medium or brand."))
    elif not source:
        messages.error(
            request,
            _(
                "Say where the person permitted it: a form, a call, a letter. Consent without a source is none."
            ),
        )
    elif consent.grant(pk, int(brand), medium, f"{source} ({request.user})", timezone.now(), lift=True):
        messages.success(request, _("Recorded."))
    else:
        messages.info(request, _("That changed nothing: it is permitted already, or the customer is erased."))
    return _back(pk, "permissions")


@needs(Role.MARKETER)
@require_POST
def customer_tag(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a tag on, by its name."""
    name = request.POST.get("name", "").strip()
    if not name or len(name) > 80:
        messages.error(request, _("Write a tag of at most 80 characters."))
    else:
        tagging.put(get_object_or_404(Customer, pk=pk).pk, name, source=f"by hand: {request.user}")
    return _back(pk, "tags")


@needs(Role.MARKETER)
@require_POST
def customer_untag(request: HttpRequest, pk: int, tag: int) -> HttpResponse:
    """Take a tag off."""
    CustomerTag.objects.filter(customer_id__in=tagging.together(pk), tag_id=tag).delete()
    return _back(pk, "tags")


@needs(Role.MARKETER)
@require_POST
def customer_merge(request: HttpRequest, pk: int) -> HttpResponse:
    """This customer and another are one person: the other is absorbed."""
    other = request.POST.get("other", "").strip().removeprefix("#")
    found = finding.by_identity(other) - {pk}
    if len(found) != 1:
        messages.error(request, _("Give the number or an identity of exactly one other customer."))
        return _back(pk, "merges")
    try:
        merging.merge(
            found.pop(), pk, reason=request.POST.get("reason", "").strip() or _("by hand"),
            by=request.user.get_username(), now=timezone.now(),
        )  # fmt: skip
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("They are one customer now. It can be undone below."))
    return _back(pk, "merges")


@needs(Role.MARKETER)
@require_POST
def customer_unmerge(request: HttpRequest, pk: int, merge: int) -> HttpResponse:
    """Part two customers who were merged."""
    get_object_or_404(Merge, pk=merge)
    try:
        undone = merging.undo(merge, by=request.user.get_username(), now=timezone.now())
    except ValueError as error:
        messages.error(request, str(error))
        return _back(pk, "merges")
    messages.success(request, _("They are two customers again."))
    return _back(undone.survivor_id, "merges")


@needs(Role.MARKETER)
@require_POST
def customer_export(request: HttpRequest, pk: int) -> HttpResponse:
    """A file with everything known of the person."""
    one = get_object_or_404(Customer, pk=pk)
    found = personal_export.export(one.pk, requested_by=request.user.get_username(), now=timezone.now())
    return HttpResponse(
        json.dumps(found, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1),
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="customer-{pk}.json"'},
    )


@needs(Role.MARKETER)
@require_POST
def customer_erase(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget the person."""
    get_object_or_404(Customer, pk=pk)
    try:
        erasure.erase(pk, requested_by=request.user.get_username(), now=timezone.now())
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The person is erased. Only numbers without a name are left."))
    return _back(pk)
