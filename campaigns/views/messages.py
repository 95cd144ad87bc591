"""The content library: list, editor with preview, versions."""

from decimal import Decimal
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.decorators import csp_replace
from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, needs
from audiences.brands import default_brand
from audiences.models import Brand
from audiences.vocabulary import Medium
from campaigns import content, definition, library, versions
from campaigns.models import ChannelPlan, Message, MessageVersion
from campaigns.views import frame
from channels.models import Channel

PAGE = 50
MEDIA = [(medium.value, medium.label) for medium in Medium if medium in content.WITH_WORDS]


@needs(*ANYBODY)
@require_safe
def library_list(request: HttpRequest) -> HttpResponse:
    """All messages by name, by medium and words."""
    medium, words = request.GET.get("medium", ""), request.GET.get("q", "").strip()
    archived = request.GET.get("archived") == "1"
    found = Message.objects.select_related("brand").prefetch_related("versions__variants")
    found = found.exclude(archived_at=None) if archived else found.filter(archived_at=None)
    if medium in Medium.values:
        found = found.filter(medium=medium)
    if words:
        found = found.filter(name__icontains=words)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    rows = []
    for message in page:
        versions_ = list(message.versions.all())
        newest = versions_[0] if versions_ else None
        variants = list(newest.variants.all()) if newest else []
        rows.append(
            {
                "message": message,
                "newest": newest,
                "variants": variants,
                "first": variants[0] if variants else None,
            }
        )
    context = {
        "page": page,
        "rows": rows,
        "media": MEDIA,
        "medium": medium,
        "words": words,
        "archived": archived,
    }
    return render(request, "campaigns/messages.html", context)


class NewMessageForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    medium = forms.ChoiceField(label=gettext_lazy("Medium"), choices=MEDIA)
    brand = forms.ModelChoiceField(Brand.objects.all(), label=gettext_lazy("Brand"), empty_label=None)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cleaned_data
        if (
            found.get("brand")
            and Message.objects.filter(brand=found["brand"], name=found.get("name")).exists()
        ):
            self.add_error("name", _("There is a message of this name already."))
        return found


@needs(*frame.EDITORS)
def new_message(request: HttpRequest) -> HttpResponse:
    """Makes a message, and puts it into the campaign one came from."""
    form = NewMessageForm(
        request.POST or None,
        initial={"brand": default_brand(), "medium": request.GET.get("medium", Medium.EMAIL)},
    )
    if request.method == "POST" and form.is_valid():
        entered = form.cleaned_data
        version = library.create(entered["brand"], entered["medium"], entered["name"], request.user)  # type: ignore[arg-type]
        campaign, channel = request.GET.get("campaign", ""), request.GET.get("channel", "")
        if campaign.isdecimal() and channel.isdecimal():
            _put(request, int(campaign), int(channel), version.message)
            return redirect(reverse("campaigns:message", args=[version.message_id]) + f"?campaign={campaign}")
        return redirect("campaigns:message", version.message_id)
    return render(request, "campaigns/new_message.html", {"form": form}, status=422 if form.errors else 200)


def _put(request: HttpRequest, campaign_id: int, channel_id: int, message: Message) -> None:
    """Choose a new message on a channel of a campaign, if the campaign still takes it."""
    try:
        with versions.editing(campaign_id, request.user, timezone.now()) as (_campaign, document):  # type: ignore[arg-type]
            document["channels"] = [
                entry | {"message": definition.message_entry(message)}
                if entry["channel"] == channel_id and entry["medium"] == message.medium
                else entry
                for entry in document["channels"]
            ]
    except definition.DefinitionError as error:
        messages.warning(request, str(error))


class WordsForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Name"), max_length=40)
    weight = forms.DecimalField(
        label=gettext_lazy("Weight"), min_value=0, max_value=1, max_digits=5, decimal_places=4
    )
    subject = forms.CharField(label=gettext_lazy("Subject"), max_length=254, required=False, strip=True)
    text = forms.CharField(label=gettext_lazy("Text"), required=False, strip=False, max_length=100_000)
    html = forms.CharField(label=gettext_lazy("HTML"), required=False, strip=False, max_length=1_000_000)


@needs(*ANYBODY, write=frame.EDITORS)
def message(request: HttpRequest, pk: int, number: int | None = None) -> HttpResponse:
    """One version in the editor; what is frozen is shown to read."""
    found = get_object_or_404(Message.objects.select_related("brand"), pk=pk)
    version = (
        get_object_or_404(found.versions, number=number) if number is not None else content.newest(found)
    ) or library.new_version(found, None)
    problem = ""
    if request.method == "POST":
        problem = _write(request, version)
        if not request.htmx:  # type: ignore[attr-defined]
            if problem:
                messages.error(request, problem)
            return redirect("campaigns:message_version", pk, version.number)
    context = _editor(request, found, version) | {
        "problem": problem,
        "saved": request.method == "POST" and not problem,
    }
    if request.htmx:  # type: ignore[attr-defined]
        shown = request.POST.get("variant", "")
        context["row"] = next(
            (row for row in context["variants"] if str(row["variant"].number) == shown), None
        )
        return render(request, "campaigns/_message_preview.html", context, status=422 if problem else 200)
    return render(request, "campaigns/message.html", context)


def _write(request: HttpRequest, version: MessageVersion) -> str:
    """Do what a button or a change asked for; what was wrong, or ''."""
    wanted, _sep, which = request.POST.get("do", "save").partition(":")
    try:
        if wanted == "add_variant":
            library.add_variant(version.pk)
        elif wanted == "remove_variant":
            library.remove_variant(version.pk, int(which))
        elif wanted == "template":
            library.set_template(version.pk, request.POST.get("template", "").strip()[:120])
        else:
            form = WordsForm(request.POST)
            if not form.is_valid():
                name, errors = next(iter(form.errors.items()))
                return f"{name}: {errors[0]}"
            text = form.cleaned_data["text"].replace("\r\n", "\n")
            html = form.cleaned_data["html"].replace("\r\n", "\n")
            library.write(
                version.pk,
                int(request.POST.get("variant", "1")),
                subject=form.cleaned_data["subject"],
                text=text,
                html=html,
                name=form.cleaned_data["name"],
                weight=Decimal(form.cleaned_data["weight"]),
            )
    except ValueError as error:
        return str(error)
    return ""


def _editor(request: HttpRequest, found: Message, version: MessageVersion) -> dict[str, Any]:
    today = timezone.localdate()
    channels = content.channels_of(found)
    chosen = request.GET.get("on") or request.POST.get("on") or ""
    channel = next((one for one in channels if str(one.pk) == chosen), channels[0] if channels else None)
    campaign = request.GET.get("campaign", "")
    variants = [
        {
            "variant": preview.variant,
            "weight": format(preview.variant.weight.normalize(), "f"),
            "preview": preview,
            "problems": _problems(found, channel, preview),
        }
        for preview in content.previews(version, channel, today)
    ]
    return {
        "message": found,
        "version": version,
        "all_versions": found.versions.select_related("created_by"),
        "variants": variants,
        "channels": channels,
        "channel": channel,
        "editable": version.frozen_at is None,
        "with_html": found.medium in content.WITH_HTML,
        "with_subject": found.medium in content.WITH_SUBJECT,
        "fields": [
            *((_chip(name, fallback), label) for name, (label, _sample, fallback) in content.FIELDS.items()),
            *((_chip(name), label) for name, (label, _sample) in content.OFFER_FIELDS.items()),
            (_chip("attributes.key", "…"), _("attribute of the customer, by its key")),
            *((_chip(name), label) for name, label in content.ADDRESSES.items()),
        ],
        "used_in": ChannelPlan.objects.filter(message=found)
        .select_related("campaign", "channel")
        .order_by("-id")[:20],
        "campaign_back": campaign if campaign.isdecimal() else "",
        "now": timezone.now(),
    }


def _chip(name: str, fallback: Any = "") -> str:
    return "{{" + name + (f"|{fallback}" if fallback else "") + "}}"


def _problems(found: Message, channel: Channel | None, preview: content.Preview) -> list[content.Problem]:
    words = preview.variant
    if channel is None:
        return content.problems_of_words(found.medium, words.subject, words.text, words.html)
    return content.check_words(channel, words.subject, words.text, words.html, timezone.localdate())


@needs(*frame.EDITORS)
@require_POST
def new_version(request: HttpRequest, pk: int) -> HttpResponse:
    """The next version, to edit."""
    version = library.new_version(get_object_or_404(Message, pk=pk), request.user)  # type: ignore[arg-type]
    return redirect("campaigns:message_version", pk, version.number)


@needs(*frame.EDITORS)
@require_POST
def archive(request: HttpRequest, pk: int) -> HttpResponse:
    """Out of the choices, or back."""
    found = get_object_or_404(Message, pk=pk)
    library.archive(found, None if found.archived_at else timezone.now())
    return redirect("campaigns:messages")


# The email is shown in a frame of its own, without scripts and without our pages around it.
@csp_replace(
    {
        "default-src": [NONE],
        "script-src": [NONE],
        "style-src": [UNSAFE_INLINE],
        "img-src": ["https:", "data:"],
        "frame-ancestors": [SELF],
        "sandbox": True,
    }
)
@xframe_options_sameorigin
@needs(*ANYBODY)
@require_safe
def message_html(request: HttpRequest, pk: int, variant: int) -> HttpResponse:
    """The HTML of one variant with sample values, for the preview's frame."""
    version = get_object_or_404(MessageVersion, pk=pk)
    found = get_object_or_404(version.variants, number=variant)
    return HttpResponse(content.preview("", "", found.html)[2], content_type="text/html; charset=utf-8")
