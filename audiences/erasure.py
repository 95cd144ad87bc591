"""A person asks to be forgotten: what names them goes, what counts them stays."""

import datetime as dt

from django.db import transaction
from django.db.models import F, Value
from django.db.models.fields import CharField
from django.db.models.functions import Cast, Concat
from django.utils.translation import gettext as _

from audiences import consent, contact_state, suppression
from audiences.identity import survivor
from audiences.models import (
    BehaviourEvent,
    Consent,
    Customer,
    CustomerTag,
    Identity,
    Merge,
    PrivacyRequest,
    Score,
    SegmentMember,
)
from audiences.registers import followers


def erase(customer_id: int, *, requested_by: str, now: dt.datetime) -> PrivacyRequest:
    """Blank the person, together with everyone merged into them.

    Their identities are put on the suppression list as keyed hashes first, so that a later load cannot bring
    the person back into any channel. Orders and touches stay without a name: accounts need them.
    Raises :class:`ValueError` when the customer is erased already.
    """
    customer_id = survivor(customer_id)
    with transaction.atomic():
        ids = [
            customer_id,
            *Customer.objects.filter(merged_into_id=customer_id).values_list("pk", flat=True),
        ]
        states = contact_state.lock(ids)
        if any(state.erased for state in states if state.pk == customer_id):
            raise ValueError(_("The customer is erased already."))
        for follower in followers:
            if follower.erasing:
                for one_id in sorted(ids):
                    follower.erasing(one_id)
        identities = Identity.objects.filter(customer_id__in=ids)
        suppressed = suppression.suppress(identities.values_list("kind", "issuer", "value"), "erased")
        for one in Consent.objects.filter(customer_id__in=ids, status=Consent.Status.GRANTED).order_by("pk"):
            consent.withdraw(one.customer_id, one.brand_id, one.medium, "erasure", now, one.purpose)
        # The row stays, since attempts refer to it; its value goes.
        blanked = identities.update(
            issuer="",
            value=Concat(Value("erased-"), Cast(F("pk"), CharField())),
            source="",
            invalid_at=now,
            invalid_reason="erased",
        )
        Customer.objects.filter(pk__in=ids).update(
            name="",
            name_sort="",
            gender="",
            birth_date=None,
            language="",
            country="",
            province="",
            city="",
            attributes={},
            erased_at=now,
            updated_at=now,
        )
        CustomerTag.objects.filter(customer_id__in=ids).delete()
        Score.objects.filter(customer_id__in=ids).delete()
        SegmentMember.objects.filter(customer_id__in=ids).delete()
        BehaviourEvent.objects.filter(customer_id__in=ids).update(attributes={})
        Merge.objects.filter(survivor_id__in=ids).update(detail={})
        for follower in followers:
            if follower.erased:
                for one_id in sorted(ids):
                    follower.erased(one_id)
        return PrivacyRequest.objects.create(
            customer_id=customer_id,
            kind=PrivacyRequest.Kind.ERASE,
            requested_by=requested_by,
            done_at=now,
            result={"customers": len(ids), "identities": blanked, "suppressed": suppressed},
        )
