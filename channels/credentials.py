"""Credentials at rest: a JSON field encrypted with keys of its own (``settings.FIELD_KEYS``)."""

import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def cipher() -> MultiFernet:
    """The present keys; the first encrypts, all decrypt, so keys can be rotated."""
    return _fernet(tuple(settings.FIELD_KEYS))


class EncryptedJSONField(models.TextField):
    """JSON in the program, a Fernet token in the database. Not searchable.

    Raises :class:`ImproperlyConfigured` when none of the keys opens a stored value.
    """

    # What type checkers take the attribute for: it is JSON to the program, whatever the column is.
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any
    _pyi_lookup_exact_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        if value is None or value == "":
            return {}
        try:
            return json.loads(cipher().decrypt(value.encode()))
        except InvalidToken as error:
            raise ImproperlyConfigured(
                "A stored credential opens with none of FIELD_KEYS. Put the key it was written with back."
            ) from error

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str:
        return cipher().encrypt(json.dumps(value or {}).encode()).decode()

    def value_to_string(self, obj: models.Model) -> str:
        return ""  # never serialised
