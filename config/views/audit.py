"""The audit trail: who changed what, and when."""

from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from audiences.access import ADMINISTRATOR, needs
from config import audit

PAGE = 50


@needs(ADMINISTRATOR)
def audit_trail(request: HttpRequest) -> HttpResponse:
    """Newest first, narrowed by kind of thing, by one thing, or by person."""
    wanted = audit.Wanted.read(request.GET.dict())
    trail: Any = audit.Trail(wanted)
    page: Page[Any] = Paginator(trail, PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "config/audit.html",
        {"page": page, "wanted": wanted, "kinds": audit.kinds(), "people": audit.people()},
    )
