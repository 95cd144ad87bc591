"""The side bar: what a role sees, in which order, and where it stands."""

from typing import Any

import pytest

from audiences import navigation
from audiences.access import ADMINISTRATOR, Role
from audiences.registers import NavigationEntry

ENTRIES = (
    NavigationEntry("Audit", "config:audit_trail", "history", 930, (ADMINISTRATOR,), "Administration"),
    NavigationEntry("Home", "config:home", "home", 0),
    NavigationEntry("Keys", "config:api_keys", "key", 910, (Role.MARKETER,), "Administration"),
    NavigationEntry("Not built", "config:nonsense", "key", 500),
    NavigationEntry("Users", "config:users", "users", 920, (ADMINISTRATOR,), "Administration"),
)


def shown(user: Any, path: str = "/") -> list[tuple[str, list[str]]]:
    return [
        (str(group.label), [f"{place.label}{' ←' if place.here else ''}" for place in group.places])
        for group in navigation._groups(ENTRIES, user, path)
    ]


@pytest.mark.django_db
def test_a_person_sees_the_places_of_their_roles_by_position(make_user: Any) -> None:
    assert shown(make_user("a", "marketer")) == [("", ["Home ←"]), ("Administration", ["Keys"])]
    assert shown(make_user("b", "finance")) == [("", ["Home ←"])]
    assert shown(make_user("c", is_superuser=True), "/audit/") == [
        ("", ["Home"]),
        ("Administration", ["Keys", "Users", "Audit ←"]),
    ]


@pytest.mark.django_db
def test_a_page_below_a_place_stands_at_that_place(make_user: Any) -> None:
    assert shown(make_user("a", "marketer"), "/api-keys/new/")[1] == ("Administration", ["Keys ←"])
    assert shown(make_user("a", "marketer"), "/elsewhere/") == [("", ["Home"]), ("Administration", ["Keys"])]
