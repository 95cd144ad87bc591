"""Rows that tests of channels begin with."""

import itertools
from typing import Any

from audiences.models import Brand
from channels.accounts import save_channel
from channels.models import Channel

_numbers = itertools.count(1)


def make_brand(code: str = "main") -> Brand:
    return Brand.objects.get_or_create(code=code, defaults={"name": code.title()})[0]


def make_channel(adapter: str = "manual", medium: str = "sms", **fields: Any) -> Channel:
    """A saved channel of the main brand; the manual twin unless another adapter is named."""
    fields.setdefault("name", f"{medium} {next(_numbers)}")
    fields.setdefault("brand", None)
    fields["brand"] = fields["brand"] or make_brand()
    return save_channel(Channel(adapter=adapter, medium=medium, **fields))
