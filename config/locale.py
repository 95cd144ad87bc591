"""Language and time zone of the person who is logged in."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone, translation

from config.models import User


class UserLocaleMiddleware:
    """A person's own settings win over the browser's. Runs after authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        user = request.user
        if not isinstance(user, User):
            return self.get_response(request)
        if user.language:
            translation.activate(user.language)
            request.LANGUAGE_CODE = translation.get_language()
        if not user.zone:
            return self.get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(user.zone)):
            return self.get_response(request)
