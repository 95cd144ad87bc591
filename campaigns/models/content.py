"""What is said, and what is offered."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models import Brand, Customer
from audiences.vocabulary import Medium
from campaigns.models.campaign import MONEY


class Message(models.Model):
    """An entry of the content library. Its words are in immutable versions."""

    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="+")
    medium = models.CharField(_("medium"), max_length=20, choices=Medium)
    name = models.CharField(_("name"), max_length=120)
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("brand", "name"), name="a_message_has_one_name"),)

    def __str__(self) -> str:
        return self.name


class MessageVersion(models.Model):
    """A version, with variants. Approval freezes it (a trigger refuses changes afterwards)."""

    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="versions")
    number = models.IntegerField()
    template = models.CharField(_("template id"), max_length=120, blank=True)  # the provider's, where needed
    frozen_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(fields=("message", "number"), name="a_message_version_has_one_number"),
        )

    def __str__(self) -> str:
        return f"{self.message_id} v{self.number}"


class MessageVariant(models.Model):
    """The words of one variant. ``{{name}}`` and the like are filled per person; see campaigns.content."""

    version = models.ForeignKey(MessageVersion, on_delete=models.CASCADE, related_name="variants")
    number = models.SmallIntegerField(default=1)
    name = models.CharField(_("name"), max_length=40, default="A")
    weight = models.DecimalField(_("weight"), max_digits=5, decimal_places=4, default=1)
    subject = models.CharField(_("subject"), max_length=254, blank=True)
    text = models.TextField(_("text"), blank=True)
    html = models.TextField(_("HTML"), blank=True)

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("version", "number"), name="a_variant_has_one_number"),
        )

    def __str__(self) -> str:
        return f"{self.version_id} {self.name}"


class Mode(models.Model):
    """A promotion mechanism that competes with others 模式."""

    name = models.CharField(_("name"), max_length=80, unique=True)
    description = models.TextField(_("description"), blank=True)

    def __str__(self) -> str:
        return self.name


class Offer(models.Model):
    """Terms, stock, validity, funder and codes 优惠; one person gets it once over all channels."""

    class Kind(models.TextChoices):
        COUPON = "coupon", _("Coupon")
        DISCOUNT = "discount", _("Discount")
        GIFT = "gift", _("Gift")
        POINTS = "points", _("Points")
        OTHER = "other", _("Other")

    class Codes(models.TextChoices):
        NONE = "none", _("No code")
        SHARED = "shared", _("One code for all")
        PERSONAL = "personal", _("A code of each person's own")

    brand = models.ForeignKey(Brand, on_delete=models.PROTECT, related_name="+")
    mode = models.ForeignKey(Mode, null=True, blank=True, on_delete=models.PROTECT, related_name="offers")
    name = models.CharField(_("name"), max_length=120)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.COUPON)
    value = models.CharField(_("what the person gets"), max_length=80, blank=True)
    codes = models.CharField(_("codes"), max_length=10, choices=Codes, default=Codes.SHARED)
    code = models.CharField(_("code"), max_length=80, blank=True)
    terms = models.TextField(_("terms"), blank=True)
    stock = models.BigIntegerField(_("stock"), null=True, blank=True)
    cost = models.DecimalField(_("cost of a redemption"), default=0, **MONEY)
    funder = models.CharField(_("funder"), max_length=120, blank=True)
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True)
    valid_to = models.DateTimeField(_("valid to"), null=True, blank=True)
    repeatable = models.BooleanField(_("may be given again"), default=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("brand", "name"), name="an_offer_has_one_name"),)

    def __str__(self) -> str:
        return self.name


class OfferCode(models.Model):
    """A code of an offer that gives each person one of their own; ``taken_at`` is set once it is given."""

    offer = models.ForeignKey(Offer, on_delete=models.CASCADE, related_name="pool")
    code = models.CharField(max_length=80)
    taken_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("offer", "code"), name="a_code_is_in_an_offer_once"),)
        indexes = (
            models.Index(fields=("offer", "id"), name="code_free", condition=models.Q(taken_at__isnull=True)),
        )

    def __str__(self) -> str:
        return self.code


class OfferGrant(models.Model):
    """That a person got an offer, with its code; ``turn`` is 1 unless the offer may be given again."""

    offer = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="grants")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="offer_grants")
    turn = models.SmallIntegerField(default=1)
    campaign_id = models.BigIntegerField(null=True, blank=True)
    touch_id = models.BigIntegerField(null=True, blank=True)
    code = models.CharField(max_length=80, blank=True)
    granted_at = models.DateTimeField()
    redeemed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("offer", "customer", "turn"), name="a_person_gets_an_offer_once"),
        )
        indexes = (
            models.Index(fields=("code",), name="grant_by_code", condition=~models.Q(code="")),
            models.Index(fields=("campaign_id",), name="grant_by_campaign"),
        )

    def __str__(self) -> str:
        return f"{self.offer_id}: {self.customer_id}"
