"""KOL accounts, and the posts bought of them."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from channels.models.channel import Channel
from channels.models.inbox import Link


class KolAccount(models.Model):
    """Somebody who posts for money, on a channel of the medium KOL. Fees are in the channel's currency."""

    channel = models.ForeignKey(
        Channel, on_delete=models.PROTECT, related_name="kol_accounts", verbose_name=_("channel")
    )
    name = models.CharField(_("name"), max_length=120)
    platform = models.CharField(_("platform"), max_length=60, blank=True)  # 小红书, 抖音, 微博…
    handle = models.CharField(_("account there"), max_length=120)
    url = models.URLField(_("address"), max_length=500, blank=True)
    followers = models.BigIntegerField(_("followers"), null=True, blank=True)
    fee = models.DecimalField(
        _("usual fee of a post"), max_digits=14, decimal_places=2, null=True, blank=True
    )
    note = models.TextField(_("note"), blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(
                fields=("channel", "platform", "handle"), name="a_kol_account_is_one_row"
            ),
            models.CheckConstraint(
                condition=models.Q(fee__isnull=True) | models.Q(fee__gte=0),
                name="a_usual_fee_is_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(followers__isnull=True) | models.Q(followers__gte=0),
                name="followers_are_not_negative",
            ),
        )

    def __str__(self) -> str:
        return self.name


class KolPlacement(models.Model):
    """One post bought of an account for a campaign: a task with a day, a tracked link and a fee.

    ``link`` is followed by strangers, so it is the placement's alone. The fee becomes spend when it is posted, as
    a daily report named :attr:`reference`.
    """

    class State(models.TextChoices):
        PLANNED = "planned", _("Planned")
        POSTED = "posted", _("Posted")
        CANCELLED = "cancelled", _("Cancelled")

    account = models.ForeignKey(
        KolAccount, on_delete=models.PROTECT, related_name="placements", verbose_name=_("account")
    )
    campaign_id = models.BigIntegerField()
    task_id = models.BigIntegerField(null=True, blank=True, unique=True)
    day = models.DateField(_("day of the post"))
    fee = models.DecimalField(_("fee"), max_digits=14, decimal_places=2)
    link = models.OneToOneField(Link, null=True, on_delete=models.PROTECT, related_name="kol_placement")
    code = models.CharField(_("offer code"), max_length=80, blank=True)
    brief = models.TextField(_("what to say"), blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PLANNED)
    posted_on = models.DateField(null=True, blank=True)
    post_url = models.URLField(_("address of the post"), max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-day", "-id")
        indexes = (models.Index(fields=("campaign_id", "day"), name="kol_placement_by_campaign"),)
        constraints = (
            models.CheckConstraint(condition=models.Q(fee__gte=0), name="a_fee_is_not_negative"),
            models.CheckConstraint(
                condition=~models.Q(state="posted") | models.Q(posted_on__isnull=False),
                name="what_is_posted_has_a_day",
            ),
            # A code that two posts share could not tell them apart.
            models.UniqueConstraint(
                fields=("code",),
                condition=~models.Q(code="") & ~models.Q(state="cancelled"),
                name="an_offer_code_is_of_one_placement",
            ),
        )

    def __str__(self) -> str:
        return f"{self.account}, {self.day}"

    @property
    def reference(self) -> str:
        """What reports, and the address of the link, call it."""
        return f"kol-{self.pk}"
