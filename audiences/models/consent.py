"""What a customer permits, for a medium and a brand, with source and time."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models.customer import Brand, Customer
from audiences.vocabulary import IdentityKind, Medium, Purpose


class Consent(models.Model):
    """The present state. A trigger mirrors it into ``ContactState.allowed`` and ``.blocked``,

    since dispatch decides from that locked row and never from this table's snapshot.
    """

    class Status(models.TextChoices):
        GRANTED = "granted", _("Granted")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="consents", db_index=False)
    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="+")
    medium = models.CharField(_("medium"), max_length=20, choices=Medium)
    purpose = models.CharField(_("purpose"), max_length=8, choices=Purpose, default=Purpose.CONTACT)
    status = models.CharField(_("status"), max_length=10, choices=Status)
    source = models.CharField(_("source"), max_length=120)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("customer", "brand", "medium", "purpose"),
                name="a_consent_is_one_row_a_medium_and_brand",
            ),
        )

    def __str__(self) -> str:
        return f"{self.customer_id} {self.medium} {self.status}"


class ConsentChange(models.Model):
    """Every change of a consent, append-only."""

    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="consent_changes", db_index=False
    )
    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="+")
    medium = models.CharField(max_length=20, choices=Medium)
    purpose = models.CharField(max_length=8, choices=Purpose, default=Purpose.CONTACT)
    status = models.CharField(max_length=10, choices=Consent.Status)
    source = models.CharField(max_length=120)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("customer", "received_at"), name="consent_change_by_customer"),)

    def __str__(self) -> str:
        return f"{self.customer_id} {self.medium} {self.status}"


class Suppression(models.Model):
    """A keyed hash of an identity that must not be contacted, so that an opt-out survives the next load.

    ``brand`` null is every brand, ``medium`` '' every medium.
    """

    digest = models.CharField(max_length=64)  # hex HMAC-SHA256 of kind|issuer|value
    kind = models.CharField(max_length=24, choices=IdentityKind)
    brand = models.ForeignKey(Brand, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    medium = models.CharField(max_length=20, choices=Medium, blank=True)
    reason = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("digest", "brand", "medium"), name="a_suppression_is_one_row", nulls_distinct=False
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.medium or '*'}"


class PrivacyRequest(models.Model):
    """A person's request for an export or an erasure of what is known, and how it ended."""

    class Kind(models.TextChoices):
        EXPORT = "export", _("Export")
        ERASE = "erase", _("Erase")

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="privacy_requests")
    kind = models.CharField(max_length=8, choices=Kind)
    requested_by = models.CharField(max_length=150)
    requested_at = models.DateTimeField(auto_now_add=True)
    done_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.customer_id}"
