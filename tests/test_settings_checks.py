from typing import Any

import pytest

from config import checks, env


def ids(found: list[Any]) -> list[str]:
    assert all(each.hint for each in found), "every check says what to do"
    return [each.id for each in found]


def test_a_sound_installation_has_nothing_to_tell(settings: Any) -> None:
    assert ids(checks.secrets_are_set(None)) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SECRET_KEY", "short", "evenreach.E001"),
        ("FIELD_KEYS", [], "evenreach.E002"),
        ("FIELD_KEYS", ["no key"], "evenreach.E003"),
        ("HASH_KEY", "", "evenreach.E004"),
    ],
)
def test_missing_secrets_are_told(settings: Any, name: str, value: Any, expected: str) -> None:
    setattr(settings, name, value)
    assert ids(checks.secrets_are_set(None)) == [expected]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BROKER_URL", "sqs://x", "evenreach.E006"),
        ("PUBLIC_URL", "example.com", "evenreach.E007"),
        ("DATABASE_URL", "postgresql://localhost", "evenreach.E008"),
    ],
)
def test_wrong_places_are_told(settings: Any, name: str, value: Any, expected: str) -> None:
    setattr(settings, name, value)
    assert expected in ids(checks.places_are_right(None))


def test_a_database_url_is_taken_apart() -> None:
    read = env.database("postgresql://us%40er:p%2Fw@db.internal:5433/reach?sslmode=require")
    assert read == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "reach",
        "USER": "us@er",
        "PASSWORD": "p/w",
        "HOST": "db.internal",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }


def test_another_database_is_refused() -> None:
    with pytest.raises(env.Misconfigured, match="PostgreSQL only"):
        env.database("mysql://localhost/x")


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path: Any) -> None:
    path = tmp_path / "var" / "secrets.json"
    first = env.installation_secrets(path)
    assert env.installation_secrets(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
