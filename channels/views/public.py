"""What a person meets who follows a link of ours: redirect, pixel, unsubscribe, choice of media.

No log-in and no cookie: the sealed token in the address is the proof. Nothing here tells who the person is.
"""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone, translation
from django.utils.crypto import salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from audiences.models import Customer
from audiences.vocabulary import ResponseKind
from channels import inbox, preferences
from channels.adapters.base import Inbound
from channels.machines import is_machine
from channels.models import Channel, Link
from channels.tokens import BadToken, Token, TokenKind, unseal

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00"
    b"\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


class HttpRedirectAnywhere(HttpResponseRedirect):
    """The addresses come from approved messages, stored by us; none is taken from the request."""

    allowed_schemes = ["http", "https"]


def public(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view for anybody, by its token."""

    @wraps(view)
    def open_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        response["X-Robots-Tag"] = "noindex"
        return response

    open_view.public = True  # type: ignore[attr-defined]
    return open_view


@lru_cache(maxsize=50_000)
def _destination(link_id: int) -> str:
    """Where a link leads. A stored link never changes, so that it is read once a process."""
    return Link.objects.values_list("url", flat=True).get(pk=link_id)


@public
@csrf_exempt
@never_cache
@require_safe
def follow(request: HttpRequest, token: str) -> HttpResponse:
    """Store the click, go on to the address."""
    try:
        sealed = unseal(token, TokenKind.LINK)
        url = _destination(sealed.link_id)
    except (BadToken, Link.DoesNotExist):
        return _unknown(request)
    now = timezone.now()
    machine = is_machine(request.method or "GET", _headers(request))
    detail = {"link_id": sealed.link_id, "agent": _agent(request)}
    _store(sealed, ResponseKind.CLICK, now, machine, detail, _stranger(request, now))
    return HttpRedirectAnywhere(url)


@public
@csrf_exempt
@never_cache
@require_safe
def pixel(request: HttpRequest, token: str) -> HttpResponse:
    """Store the opening. An unknown token gets the picture too: it tells nothing."""
    try:
        sealed = unseal(token, TokenKind.PIXEL)
    except BadToken:
        return HttpResponse(PIXEL, content_type="image/gif")
    machine = is_machine(request.method or "GET", _headers(request), pixel=True)
    now = timezone.now()
    _store(sealed, ResponseKind.OPEN, now, machine, {"agent": _agent(request)}, _stranger(request, now))
    return HttpResponse(PIXEL, content_type="image/gif")


def _stranger(request: HttpRequest, now: datetime) -> str:
    """Tells visitors of a link that is nobody's own apart, for a day; who they are cannot be read from it."""
    address = f"{now.date()} {request.META.get('REMOTE_ADDR', '')} {request.headers.get('User-Agent', '')}"
    forwarded = request.headers.get("X-Forwarded-For", "")
    return salted_hmac("channels.visitors", f"{address} {forwarded}", algorithm="sha256").hexdigest()[:16]


def _store(
    sealed: Token, kind: ResponseKind, now: datetime, machine: bool, detail: dict[str, Any], stranger: str
) -> None:
    """One event a second of the same kind: a browser that asks twice is one person who looked once."""
    who = f"{sealed.campaign_id}:{sealed.touch_id or sealed.customer_id or stranger}"
    key = f"{kind}:{who}:{sealed.link_id}:{int(now.timestamp())}:{'m' if machine else 'p'}"
    event = Inbound(
        dedupe_key=key,
        occurred_at=now,
        response=kind,
        machine=machine,
        campaign_id=sealed.campaign_id or None,
        touch_id=sealed.touch_id or None,
        detail=detail | {"customer_id": sealed.customer_id},
    )
    inbox.store(sealed.channel_id, [event], now)


def _headers(request: HttpRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _agent(request: HttpRequest) -> str:
    return request.headers.get("User-Agent", "")[:120]


@public
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """A GET asks and changes nothing (scanners follow links); a POST, by a mail program (RFC 8058) or by the
    button, withdraws consent for the channel's medium and brand."""
    try:
        sealed = unseal(token, TokenKind.UNSUBSCRIBE)
        channel = Channel.objects.select_related("brand").get(pk=sealed.channel_id)
    except (BadToken, Channel.DoesNotExist):
        return _unknown(request)
    one_click = request.POST.get("List-Unsubscribe") == "One-Click"
    done = False
    if request.method == "POST":
        if not one_click and request.POST.get("confirm") != "yes":
            return HttpResponse(
                "The body must be List-Unsubscribe=One-Click", status=400, content_type="text/plain"
            )
        preferences.unsubscribe(sealed, channel, timezone.now())
        if one_click:
            return HttpResponse("ok", content_type="text/plain")
        done = True
    with translation.override(_language(sealed.customer_id)):
        shown = {"channel": channel, "done": done, "preferences": preferences.address(sealed)}
        return render(request, "channels/public/unsubscribe.html", shown)


@public
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def preference_centre(request: HttpRequest, token: str) -> HttpResponse:
    """By which media each brand may write: the person's own choice, kept as consent."""
    try:
        sealed = unseal(token, TokenKind.PREFERENCES)
        Customer.objects.only("pk").get(pk=sealed.customer_id)
    except (BadToken, Customer.DoesNotExist):
        return _unknown(request)
    saved = False
    if request.method == "POST":
        preferences.save(
            sealed, set(request.POST.getlist("shown")), set(request.POST.getlist("on")), timezone.now()
        )
        saved = True
    with translation.override(_language(sealed.customer_id)):
        shown = {"brands": preferences.of_customer(sealed.customer_id), "saved": saved}
        return render(request, "channels/public/preferences.html", shown)


def _language(customer_id: int) -> str:
    """The person's language where we speak it, else that of the browser."""
    told = Customer.objects.filter(pk=customer_id).values_list("language", flat=True).first() or ""
    try:
        return translation.get_supported_language_variant(told.lower().replace("_", "-"))
    except LookupError:
        return translation.get_language() or "en"


def _unknown(request: HttpRequest) -> HttpResponse:
    """A link that was cut short or is not ours: said plainly, without a hint."""
    return render(request, "channels/public/unknown.html", status=404)
