"""What each app brings along, gathered in road order: schedules, API paths, metrics."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from django.conf import settings


def modules(name: str) -> list[ModuleType]:
    """The module `name` of every app of ours that has one."""
    return [import_module(f"{app}.{name}") for app in settings.ROAD if find_spec(f"{app}.{name}")]
