"""The addresses of :class:`config.wsgi.BusyHandler`; what goes wrong is told to machines, by its number alone."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from channels.urls import busy

urlpatterns = [path("", include((busy, "channels")))]


def handler400(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return HttpResponse(status=400)


def handler403(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return HttpResponse(status=403)


def handler404(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return HttpResponse(status=404)


def handler500(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=500)
