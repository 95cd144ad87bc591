"""How a customer is known: values in one normal form, and who a value belongs to.

The normal form is computed in two places that must agree: here for one value, and in SQL for a load
(:mod:`audiences.imports.kinds.identities`), which sends what its fast paths do not cover back to
:func:`normalise`.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import phonenumbers
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from audiences.models import Customer, Identity
from audiences.vocabulary import IdentityKind

Key = tuple[str, str, str]
"""Kind, issuer and value of an identity."""

TRIES = 5
LONGEST_VALUE = 254
LONGEST_ISSUER = 80
HOME_REGION = "CN"  # the country of a phone number written without one

# Full-width digits and signs become plain ones; what people put between digits is dropped.
PHONE_FROM = "０１２３４５６７８９＋"
PHONE_TO = "0123456789+"
PHONE_DROPPED = " -()（）－—　.·\u00a0"
_PHONE = str.maketrans(PHONE_FROM, PHONE_TO, PHONE_DROPPED)
MAINLAND_MOBILE = r"^(\+?86|0086)?1[3-9][0-9]{9}$"
_MAINLAND_MOBILE = re.compile(MAINLAND_MOBILE)
EMAIL = r"^[^@[:space:][:cntrl:],;<>()\"\\]+@[^@[:space:][:cntrl:],;<>()\"\\.]+(\.[^@[:space:][:cntrl:],;<>()\"\\.]+)+$"
_EMAIL = re.compile(
    r"[^@\s\x00-\x1f\x7f-\x9f,;<>()\"\\]+@[^@\s\x00-\x1f\x7f-\x9f,;<>()\"\\.]+(\.[^@\s\x00-\x1f\x7f-\x9f,;<>()\"\\.]+)+"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def normalise(kind: str, issuer: str, value: str) -> str:
    """The normal form of a value. Raises :class:`ValueError` whose text tells a person what is wrong."""
    if kind not in IdentityKind.values:
        raise ValueError(_("%(kind)s is no kind of identity") % {"kind": kind})
    if len(issuer) > LONGEST_ISSUER:
        raise ValueError(_("issuer is longer than %(n)s characters") % {"n": LONGEST_ISSUER})
    if kind == IdentityKind.PHONE:
        return phone(value)
    if kind == IdentityKind.EMAIL:
        return email(value)
    plain = value.strip()
    if kind == IdentityKind.DEVICE:
        plain = plain.lower()
    if not plain:
        raise ValueError(_("empty"))
    if len(plain) > LONGEST_VALUE:
        raise ValueError(_("longer than %(n)s characters") % {"n": LONGEST_VALUE})
    if _CONTROL.search(plain):
        raise ValueError(_("has characters that cannot be seen"))
    return plain


def phone(value: str) -> str:
    """E.164. A number without a country is a Chinese one."""
    digits = value.translate(_PHONE)
    if _MAINLAND_MOBILE.match(digits):
        return "+86" + digits[-11:]
    return _foreign_phone(digits)


@lru_cache(maxsize=4096)
def _foreign_phone(digits: str) -> str:
    try:
        number = phonenumbers.parse(digits, HOME_REGION)
    except phonenumbers.NumberParseException:
        raise ValueError(_("not a phone number")) from None
    if not phonenumbers.is_valid_number(number):
        raise ValueError(_("not a phone number that exists"))
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email(value: str) -> str:
    plain = value.strip().lower()
    if len(plain) > LONGEST_VALUE or not _EMAIL.fullmatch(plain):
        raise ValueError(_("not an e-mail address"))
    return plain


def resolve(kind: str, issuer: str, value: str) -> int | None:
    """The customer a value belongs to, always a survivor; None if nobody's.

    Raises :class:`ValueError` for a value that cannot be one of its kind.
    """
    return find((kind, issuer, normalise(kind, issuer, value)))


def find(key: Key) -> int | None:
    """The customer of a normalised key. Identities move at a merge, so it is never an absorbed one."""
    kind, issuer, value = key
    found = Identity.objects.filter(kind=kind, issuer=issuer, value=value)
    return found.values_list("customer_id", flat=True).first()


def survivor(customer_id: int) -> int:
    """The customer somebody is now: the survivor of an absorbed one, else the same."""
    into = Customer.objects.filter(pk=customer_id).values_list("merged_into_id", flat=True).first()
    return into or customer_id


def know(keys: Sequence[Key], source: str, now: dt.datetime, by: str = "") -> int:
    """The one customer behind all these values: found, born, or merged from several.

    Values are normalised here (:class:`ValueError` for a bad one). New values are added to the customer.
    Safe when several processes tell of the same person at once: whoever comes second begins again.
    """
    plain = [(kind, issuer, normalise(kind, issuer, value)) for kind, issuer, value in dict.fromkeys(keys)]
    if not plain:
        raise ValueError(_("a customer needs at least one identity"))
    for attempt in range(1, TRIES + 1):
        try:
            with transaction.atomic():
                return _know(plain, source, now, by)
        except _ToldMeanwhile:
            if attempt == TRIES:
                raise
    raise AssertionError("unreachable")


def _know(keys: Sequence[Key], source: str, now: dt.datetime, by: str) -> int:
    from audiences import consent, merge  # they need survivor

    owners = _owners(keys)
    mine = min(owners.values()) if owners else Customer.objects.create(created_at=now).pk
    missing = sorted(key for key in keys if key not in owners)
    if missing:
        Identity.objects.bulk_create(
            (
                Identity(customer_id=mine, kind=kind, issuer=issuer, value=value, source=source)
                for kind, issuer, value in missing
            ),
            ignore_conflicts=True,
        )
        told = _owners(keys)
        if any(told.get(key) != mine for key in missing):
            raise _ToldMeanwhile
    for other in sorted(set(owners.values()) - {mine}):
        try:
            merge.merge(other, mine, reason=_("one record carries identities of both"), by=by, now=now)
        except ValueError as error:  # merged or erased by somebody else since it was read
            raise _ToldMeanwhile from error
    if missing:
        consent.apply_suppressions([mine])
    return mine


def know_all(kind: str, issuer: str, people: Mapping[str, str], source: str, now: dt.datetime) -> int:
    """Make sure that somebody has each of these values (value → name of who is born); returns how many were born.

    For one kind of identity told in bulk, so nobody is merged. Values are as :func:`normalise` gives them.
    """
    from audiences import consent
    from audiences.queries import identity as queries

    for attempt in range(1, TRIES + 1):
        try:
            with transaction.atomic():
                born = queries.bear(
                    kind, issuer, list(people), list(people.values()), settings.TIME_ZONE, source, now
                )
                if born:
                    consent.apply_suppressions(born)
                return len(born)
        except IntegrityError:
            if attempt == TRIES:
                raise
    raise AssertionError("unreachable")


class _ToldMeanwhile(Exception):
    """Somebody else told of the same people first."""


def _owners(keys: Iterable[Key]) -> dict[Key, int]:
    wanted = set(keys)
    kinds, issuers, values = (list(column) for column in zip(*wanted, strict=True))
    rows = Identity.objects.filter(kind__in=kinds, issuer__in=issuers, value__in=values)
    found = {
        (kind, issuer, value): owner
        for kind, issuer, value, owner in rows.values_list("kind", "issuer", "value", "customer_id")
    }
    return {key: owner for key, owner in found.items() if key in wanted}
