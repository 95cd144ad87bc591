"""The webhooks: one address a channel, whose secret path and adapter prove the sender."""

from hmac import compare_digest

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from channels import counts, inbox
from channels.accounts import known_channel
from channels.adapters.base import BadSignature, InboundRequest

LONGEST_BODY = 4 * 1024 * 1024


@csrf_exempt
@require_http_methods(["GET", "POST", "PUT"])
def inbound(request: HttpRequest, channel_id: int, secret: str) -> HttpResponse:
    """Public. A wrong secret learns nothing (404); a wrong signature is counted (403)."""
    channel = known_channel(channel_id)
    if channel is None or not channel.inbound_secret:
        return HttpResponse(status=404)
    if not compare_digest(channel.inbound_secret.encode(), secret.encode()):
        return HttpResponse(status=404)
    now = timezone.now()
    try:
        body = _body(request)
    except UnreadablePostError:  # it hung up in the middle, and will send it again
        return HttpResponse(status=400)
    if body is None:
        counts.count(channel.pk, counts.TOO_LARGE, now=now)
        return HttpResponse(status=413)
    told = InboundRequest(
        method=request.method or "POST",
        url=settings.PUBLIC_URL
        + request.get_full_path(),  # as the provider was told it, whatever proxies say
        headers={name.lower(): value for name, value in request.headers.items()},
        query=request.GET.dict(),
        body=body,
        received_at=now,
    )
    try:
        reply = inbox.receive(channel, told, now)
    except BadSignature:
        return HttpResponse(status=403)
    return HttpResponse(reply.body, status=reply.status, content_type=reply.content_type)


def _body(request: HttpRequest) -> bytes | None:
    """The body, or None when it is longer than anything a provider sends."""
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        return None if length > LONGEST_BODY else request.body
    except (RequestDataTooBig, ValueError):
        return None
