"""Registers that later apps fill for channels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from audiences.registers import Register


@dataclass(frozen=True, slots=True)
class HealthPanel:
    """A part of a channel's health page."""

    label: Any
    template: str
    context: Callable[[HttpRequest, int], Mapping[str, Any]]


health_panels: Register[HealthPanel] = Register("channel health panel")
