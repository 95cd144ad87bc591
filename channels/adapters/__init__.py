"""The folder of adapters. It is scanned: a new adapter is one new file, and no other line changes."""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from channels.adapters.base import BaseAdapter

_added: dict[str, type[BaseAdapter]] = {}


@cache
def _scanned() -> dict[str, type[BaseAdapter]]:
    found: dict[str, type[BaseAdapter]] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name == "base" or module.name.startswith("_"):
            continue
        adapter = getattr(import_module(f"{__name__}.{module.name}"), "Adapter", None)
        if adapter is None or not issubclass(adapter, BaseAdapter) or adapter.name != module.name:
            raise ImproperlyConfigured(
                f"channels/adapters/{module.name}.py must hold a class Adapter(BaseAdapter) with name = {module.name!r}."
            )
        found[module.name] = adapter
    return dict(sorted(found.items()))


def all_adapters() -> dict[str, type[BaseAdapter]]:
    """Every adapter by name: those of the folder, then those added by :func:`add`."""
    return _scanned() | _added


def add(adapter: type[BaseAdapter]) -> type[BaseAdapter]:
    """An adapter that lives outside the folder, such as the one of a benchmark, for this process."""
    _added[adapter.name] = adapter
    return adapter


def adapter_class(name: str) -> type[BaseAdapter]:
    """Raises :class:`LookupError` with the known names."""
    try:
        return all_adapters()[name]
    except KeyError:
        raise LookupError(f"no adapter {name!r}; known: {', '.join(all_adapters())}") from None


def adapter_choices(medium: str = "") -> list[tuple[str, Any]]:
    """Names and labels for a form; with a medium, only those that serve it, the manual twin last."""
    fitting = [adapter for adapter in all_adapters().values() if not medium or medium in adapter.media]
    fitting.sort(key=lambda adapter: adapter.name == "manual")
    return [(adapter.name, adapter.label) for adapter in fitting]
