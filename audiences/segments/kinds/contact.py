"""Conditions on whether a person can and may be contacted."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.models import Brand, ContactState, Identity
from audiences.registers import RuleField, RuleKind
from audiences.vocabulary import IdentityKind, Medium, Purpose, permission_key


def blocking_keys(brand_id: int, medium: str, purpose: str = Purpose.CONTACT) -> list[str]:
    """The entries of ``ContactState.blocked`` that forbid a medium of a brand."""
    return [permission_key(brand, each, purpose) for brand in (brand_id, "*") for each in (medium, "*")]


def permits(brand_id: int, medium: str, purpose: str = Purpose.CONTACT) -> Q:
    """A condition on ``ContactState``: consent given and nothing blocked."""
    return Q(allowed__contains=[permission_key(brand_id, medium, purpose)]) & ~Q(
        blocked__overlap=blocking_keys(brand_id, medium, purpose)
    )


def _consent(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    purpose = leaf.get("purpose") or Purpose.CONTACT
    return ContactState.objects.filter(permits(leaf["brand"], leaf["medium"], purpose)).values("customer_id")


def _consent_in_words(leaf: Mapping[str, Any]) -> str:
    brand = Brand.objects.filter(pk=leaf["brand"]).first()
    medium = dict(Medium.choices).get(leaf["medium"], leaf["medium"])
    if leaf.get("purpose") == Purpose.UPLOAD:
        return _t("may be uploaded for %(medium)s of %(brand)s") % {"medium": medium, "brand": brand}
    return _t("may be contacted by %(medium)s of %(brand)s") % {"medium": medium, "brand": brand}


CONSENT = RuleKind(
    label=_("Consent"),
    group=_("How they can be reached"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "medium", "brand"],
        "properties": {
            "kind": {"const": "consent"},
            "medium": {"enum": list(Medium.values)},
            "brand": {"type": "integer", "minimum": 1},
            "purpose": {"enum": list(Purpose.values)},
        },
    },
    matching=_consent,
    sentence=_consent_in_words,
    fields=(
        RuleField("medium", _("Medium"), "choice", lambda: Medium.choices),
        RuleField("brand", _("Brand"), "choice", lambda: list(Brand.objects.values_list("pk", "name"))),
        RuleField("purpose", _("Purpose"), "choice", lambda: Purpose.choices, required=False),
    ),
)


def _identity(leaf: Mapping[str, Any]) -> QuerySet[Any]:
    found = Identity.objects.filter(kind=leaf["identity"], invalid_at=None)
    if leaf.get("issuer"):
        found = found.filter(issuer=leaf["issuer"])
    return found.values("customer_id")


def _identity_in_words(leaf: Mapping[str, Any]) -> str:
    label = dict(IdentityKind.choices)[leaf["identity"]]
    return _t("has a valid %(identity)s") % {
        "identity": f"{label} ({leaf['issuer']})" if leaf.get("issuer") else label
    }


IDENTITY = RuleKind(
    label=_("Identity"),
    group=_("How they can be reached"),
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "identity"],
        "properties": {
            "kind": {"const": "identity"},
            "identity": {"enum": list(IdentityKind.values)},
            "issuer": {"type": "string", "maxLength": 80},
        },
    },
    matching=_identity,
    sentence=_identity_in_words,
    fields=(
        RuleField("identity", _("Identity"), "choice", lambda: IdentityKind.choices),
        RuleField("issuer", _("Issuer"), required=False, help=_("Corp, app or system; empty: any")),
    ),
)
