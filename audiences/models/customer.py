"""One person, however many identities."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.vocabulary import IdentityKind, Stage


class Brand(models.Model):
    """A brand of the company. Channel, campaign, consent and offer belong to one."""

    code = models.SlugField(_("code"), max_length=32, unique=True)
    name = models.CharField(_("name"), max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name


class Customer(models.Model):
    """A person.

    An absorbed customer keeps its rows and points to its survivor (``merged_into``); readers resolve
    through it. Pointers are kept flat: they name the last survivor, never another absorbed customer.
    Every customer has a :class:`~audiences.models.contact_state.ContactState` from birth (a trigger).
    """

    class Gender(models.TextChoices):
        UNKNOWN = "", _("Unknown")
        FEMALE = "female", _("Female")
        MALE = "male", _("Male")
        OTHER = "other", _("Other")

    class BirthCalendar(models.TextChoices):
        SOLAR = "solar", _("Solar")
        LUNAR = "lunar", _("Lunar")

    name = models.CharField(_("name"), max_length=200, blank=True)
    name_sort = models.CharField(max_length=200, blank=True, editable=False)  # pinyin order: no ICU here
    gender = models.CharField(_("gender"), max_length=8, blank=True, choices=Gender)
    # In the digits of its calendar: a lunar 1990-08-15 is the 15th of the eighth lunar month.
    birth_date = models.DateField(_("birth date"), null=True, blank=True)
    birth_calendar = models.CharField(
        _("birth calendar"), max_length=8, choices=BirthCalendar, default=BirthCalendar.SOLAR
    )
    language = models.CharField(_("language"), max_length=16, blank=True)
    zone = models.CharField(_("time zone"), max_length=64, default="Asia/Shanghai")
    country = models.CharField(_("country"), max_length=2, blank=True)
    province = models.CharField(_("province"), max_length=80, blank=True)
    city = models.CharField(_("city"), max_length=80, blank=True)
    stage = models.CharField(_("stage"), max_length=16, choices=Stage, default=Stage.PROSPECT)
    attributes = models.JSONField(_("attributes"), default=dict, blank=True)
    # 0–9,999, from a keyed hash of the id at birth: the universal holdout and stable shares read it.
    bucket = models.SmallIntegerField(editable=False, default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="absorbed"
    )
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("stage",), name="customer_by_stage"),
            models.Index(
                fields=("merged_into",),
                name="customer_by_survivor",
                condition=models.Q(merged_into__isnull=False),
            ),
            models.Index(fields=("name_sort", "id"), name="customer_by_name"),
            models.Index(fields=("bucket",), name="customer_by_bucket"),
            # Whose birthday is on a day: one of some hundred dates of birth.
            models.Index(
                fields=("birth_date",),
                name="customer_by_birth_date",
                condition=models.Q(birth_date__isnull=False),
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=~models.Q(merged_into=models.F("id")), name="a_customer_is_not_merged_into_itself"
            ),
        )

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"


class Identity(models.Model):
    """A way a customer is known: kind, issuer and normalised value, unique over all customers."""

    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="identities", db_index=False
    )
    kind = models.CharField(_("kind"), max_length=24, choices=IdentityKind)
    issuer = models.CharField(_("issuer"), max_length=80, blank=True)
    value = models.CharField(_("value"), max_length=254)
    source = models.CharField(_("source"), max_length=80, blank=True)
    # Set when a provider says the address does not exist (hard bounce, empty number).
    invalid_at = models.DateTimeField(null=True, blank=True)
    invalid_reason = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "identities"
        constraints = (
            # The value first: it tells rows apart, so the index is built three times as fast as by kind first,
            # and somebody is found by a value of any kind.
            models.UniqueConstraint(
                fields=("value", "kind", "issuer"), name="an_identity_belongs_to_one_customer"
            ),
            models.CheckConstraint(condition=~models.Q(value=""), name="an_identity_has_a_value"),
        )
        indexes = (models.Index(fields=("customer", "kind"), name="identity_by_customer"),)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


class Merge(models.Model):
    """That one customer was absorbed by another, by whom and why; kept so that it can be undone.

    ``detail`` holds what undo restores: identity ids moved, both contact states as they were,
    absorbed customers re-pointed.
    """

    absorbed = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="merges_as_absorbed")
    survivor = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="merges_as_survivor")
    reason = models.CharField(max_length=200)
    detail = models.JSONField(default=dict)
    merged_by = models.CharField(max_length=150, blank=True)
    merged_at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.CharField(max_length=150, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("absorbed",),
                condition=models.Q(undone_at__isnull=True),
                name="a_customer_is_absorbed_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.absorbed_id} → {self.survivor_id}"


class Tag(models.Model):
    """A label on customers, such as a WeCom tag."""

    name = models.CharField(_("name"), max_length=80, unique=True)
    group = models.CharField(_("group"), max_length=80, blank=True)

    def __str__(self) -> str:
        return self.name


class CustomerTag(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="tag_rows")
    tag = models.ForeignKey(Tag, on_delete=models.PROTECT, related_name="customer_rows", db_index=False)
    source = models.CharField(max_length=80, blank=True)
    tagged_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tag", "customer"), name="a_tag_is_put_once"),)

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.tag_id}"


class Score(models.Model):
    """A computed value of a customer: RFM, affinity, future value, churn risk, lookalike."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="scores")
    kind = models.CharField(_("kind"), max_length=40)
    value = models.FloatField(_("value"))
    computed_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("kind", "customer"), name="a_customer_has_one_score_a_kind"),
        )
        indexes = (models.Index(fields=("kind", "value"), name="score_by_value"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"
