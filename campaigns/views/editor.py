"""The steps in which a campaign is defined. Each saves its own part as soon as something changes."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from audiences.access import ANYBODY, needs
from audiences.models import Segment
from audiences.vocabulary import Stage
from campaigns import content, definition, matrix_form, offers, reaches, readiness, versions
from campaigns.definition import DefinitionError, Document
from campaigns.forms import BasicsForm, RulesForm, arms_into, percent
from campaigns.matrix_form import most_touches, tables
from campaigns.models import Campaign, Message, Offer
from campaigns.views import frame
from channels.models import Channel


def save(request: HttpRequest, pk: int, change: Callable[[Campaign, Document], None]) -> str:
    """Change the document under its lock; what was wrong, or ''."""
    try:
        with versions.editing(pk, request.user, timezone.now()) as (campaign, document):  # type: ignore[arg-type]
            change(campaign, document)
    except DefinitionError as error:
        return str(error)
    return ""


def answer(
    request: HttpRequest,
    pk: int,
    step: str,
    problem: str,
    anchor: str = "",
    more: Callable[[Campaign, Document], dict[str, Any]] | None = None,
) -> HttpResponse:
    """htmx: the panel beside the form, with what is still missing. Otherwise: back to the step."""
    if request.htmx:  # type: ignore[attr-defined]
        campaign = frame.find(pk)
        context = frame.context(request, campaign, step, problem=problem, saved=not problem)
        context |= {"most": most_touches(context["document"])}
        if more is not None:
            context |= more(campaign, context["document"])
        return render(request, "campaigns/_saved.html", context, status=422 if problem else 200)
    if problem:
        messages.error(request, problem)
    elif request.POST.get("do", "save") == "save":
        messages.success(request, _("Saved."))
    return redirect(f"{reverse(f'campaigns:{step}', args=[pk])}{anchor}")


@needs(*ANYBODY, write=frame.EDITORS)
def basics(request: HttpRequest, pk: int) -> HttpResponse:
    """Name, audience and dates."""
    campaign = frame.find(pk)
    if request.method == "POST":
        entered: dict[str, Any] = {}

        def change(_campaign: Campaign, document: Document) -> None:
            form = BasicsForm(request.POST, document=document)
            entered["form"] = form
            if not form.is_valid():
                raise DefinitionError(first_error(form))
            form.into(document)

        problem = save(request, pk, change)
        if problem and not request.htmx and entered.get("form") is not None:  # type: ignore[attr-defined]
            context = frame.context(request, campaign, "basics", form=entered["form"], problem=problem)
            return render(request, "campaigns/basics.html", context, status=422)
        return answer(request, pk, "basics", problem)
    context = frame.context(request, campaign, "basics")
    context |= {"form": BasicsForm(document=context["document"]), "most": most_touches(context["document"])}
    return render(request, "campaigns/basics.html", context)


def first_error(form: Any) -> str:
    for name, errors in form.errors.items():
        label = form.fields[name].label if name in form.fields else ""
        return f"{label}: {errors[0]}" if label else str(errors[0])
    return ""


@needs(*ANYBODY, write=frame.EDITORS)
def matrix(request: HttpRequest, pk: int) -> HttpResponse:
    """How often whom, by which channel, for how much."""
    if request.method == "POST":
        wanted, _sep, which = request.POST.get("do", "save").partition(":")
        anchor = {"add_phase": "#phases", "add_channel": "#channels"}.get(wanted, "")

        def change(_campaign: Campaign, document: Document) -> None:
            matrix_form.into(request.POST, document)
            if wanted == "add_phase":
                matrix_form.add_phase(document)
            elif wanted == "remove_phase":
                matrix_form.remove_phase(document, int(which))
            elif wanted == "add_channel":
                chosen = request.POST.get("channel", "")
                channel = Channel.objects.filter(pk=int(chosen) if chosen.isdecimal() else 0).first()
                if channel is None:
                    raise DefinitionError(_("Choose the channel to add."))
                matrix_form.add_channel(document, channel)
            elif wanted == "remove_channel":
                matrix_form.remove_channel(document, int(which))

        return answer(request, pk, "matrix", save(request, pk, change), anchor)
    campaign = frame.find(pk)
    context = frame.context(request, campaign, "matrix")
    document = context["document"]
    channels = Channel.objects.in_bulk([entry["channel"] for entry in document["channels"]])
    taken = list(channels)
    context |= {
        "tables": tables(document),
        "channels": [
            {
                "entry": entry,
                "channel": channels.get(entry["channel"]),
                "key": f"ch{entry['channel']}",
                "day_parts": [*entry["day_parts"], {"days": [], "from": "", "to": ""}],
            }
            for entry in document["channels"]
        ],
        "others": Channel.objects.filter(brand__code=document["brand"])
        .exclude(pk__in=taken)
        .exclude(state=Channel.State.ARCHIVED),
        "stages": Stage.choices,
        "days": [
            (1, _("Mon")),
            (2, _("Tue")),
            (3, _("Wed")),
            (4, _("Thu")),
            (5, _("Fri")),
            (6, _("Sat")),
            (7, _("Sun")),
        ],
        "objectives": Campaign.Objective.choices,
        "most": most_touches(document),
        "ceiling": definition.ceiling(document),
        "joiner_percent": percent(document["joiner_share"]),
    }
    return render(request, "campaigns/matrix.html", context)


@needs(*ANYBODY, write=frame.EDITORS)
def words(request: HttpRequest, pk: int) -> HttpResponse:
    """Which message goes out on which channel, and what it looks like."""
    if request.method == "POST":

        def change(_campaign: Campaign, document: Document) -> None:
            entries = []
            for entry in document["channels"]:
                chosen = request.POST.get(f"message-{entry['channel']}")
                if chosen is not None:
                    message = Message.objects.filter(pk=int(chosen)).first() if chosen.isdecimal() else None
                    before = entry["message"]
                    newer = request.POST.get("do") == f"newest:{entry['channel']}"
                    if newer or (before or {}).get("id") != (message.pk if message else None):
                        entry = entry | {"message": definition.message_entry(message)}
                entries.append(entry)
            document["channels"] = entries
            told = request.POST.get("offer")
            if told is not None:
                offer = Offer.objects.filter(pk=int(told)).first() if told.isdecimal() else None
                document["offer"] = definition.offer_entry(offer)

        return answer(request, pk, "content", save(request, pk, change))
    campaign = frame.find(pk)
    context = frame.context(request, campaign, "content")
    document = context["document"]
    channels = Channel.objects.select_related("brand").in_bulk(
        [entry["channel"] for entry in document["channels"]]
    )
    first, last = readiness.flight(document, timezone.now())
    cards = []
    for entry in document["channels"]:
        channel = channels.get(entry["channel"])
        if channel is None:
            continue
        message = Message.objects.filter(pk=(entry["message"] or {}).get("id") or 0).first()
        version = (
            message.versions.filter(pk=entry["message"]["version_id"]).first()
            if message and entry["message"]
            else None
        )
        newest = content.newest(message) if message else None
        cards.append(
            {
                "entry": entry,
                "channel": channel,
                "message": message,
                "version": version,
                "newer": newest if newest and version and newest.pk != version.pk else None,
                "choices": Message.objects.filter(
                    medium=channel.medium, brand=channel.brand, archived_at=None
                ),
                "needs_words": channel.medium in content.WITH_WORDS,
                "previews": content.previews(version, channel, first) if version else [],
                "problems": content.check(version, channel, first, last) if version else [],
            }
        )
    plan = campaign.plans.filter(reach__gt=0).first()
    context |= {
        "cards": cards,
        "offers": Offer.objects.filter(brand__code=document["brand"]).order_by("name"),
        "offer": Offer.objects.filter(pk=(document.get("offer") or {}).get("id") or 0).first(),
        "offer_most": offers.most(document.get("offer"), plan.reach) if plan else None,
        "offer_people": plan.reach if plan else 0,
        "offer_fields": content.OFFER_FIELDS,
    }
    return render(request, "campaigns/content.html", context)


@needs(*ANYBODY, write=frame.EDITORS)
def rules(request: HttpRequest, pk: int) -> HttpResponse:
    """Who is held out, which arms there are, when silence stops, and what ends it for a person."""
    campaign = frame.find(pk)
    if request.method == "POST":

        def change(_campaign: Campaign, document: Document) -> None:
            form = RulesForm(request.POST, document=document)
            if not form.is_valid():
                raise DefinitionError(first_error(form))
            form.into(document)
            arms_into(request.POST, document)

        return answer(request, pk, "rules", save(request, pk, change))
    context = frame.context(request, campaign, "rules")
    document = context["document"]
    context |= {
        "form": RulesForm(document=document),
        "arms": [
            *({**arm, "percent": percent(arm["share"])} for arm in document["arms"]),
            {"name": "", "percent": "", "cap": None},
        ],
        "drawn": context["released"] or context["over"],
    }
    return render(request, "campaigns/rules.html", context)


@needs(*ANYBODY)
@require_safe
def reach(request: HttpRequest, pk: int) -> HttpResponse:
    """How many of the audience each channel can reach; asked for by itself, since it counts."""
    campaign = frame.find(pk)
    document = versions.working(campaign)
    segment_id = (document["segment"] or {}).get("id")
    return render(
        request,
        "campaigns/_reach.html",
        {"campaign": campaign, "document": document, "reach": reach_of(segment_id, document)},
    )


def reach_of(segment_id: int | None, document: Document) -> Any:
    if segment_id is None:
        return None
    return reaches.reach(
        get_object_or_404(Segment, pk=segment_id), [entry["channel"] for entry in document["channels"]]
    )
