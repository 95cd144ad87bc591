"""Messages to chat groups and Moments posts: many see one at once, and nobody is known to have."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.tracking import tracked
from campaigns.models.campaign import Campaign
from campaigns.models.employee_task import EmployeeTask
from channels.models import Channel, CustomerGroup, Employee, Link


@tracked()
class Broadcast(models.Model):
    """One post of a campaign, made by several employees.

    ``weight`` is what one customer it is shown to counts for, where a message to one customer is 1; it is stated when
    the post is planned and stays. ``due_at``–``until``: when employees are asked, and until when they may confirm.
    """

    class Kind(models.TextChoices):
        GROUP = "group", _("Chat groups")
        MOMENTS = "moments", _("Moments")

    class State(models.TextChoices):
        PLANNED = "planned", _("Waits for approval")
        APPROVED = "approved", _("Approved")
        ENDED = "ended", _("Ended")
        CANCELLED = "cancelled", _("Cancelled")

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="broadcasts")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    text = models.TextField(_("text"))  # as it is shown, with the link
    link = models.ForeignKey(Link, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    weight = models.DecimalField(
        _("weight"), max_digits=4, decimal_places=3, validators=[MinValueValidator(0), MaxValueValidator(1)]
    )
    due_at = models.DateTimeField(_("due at"))
    until = models.DateTimeField(_("until"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PLANNED)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    made_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    approved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-due_at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(weight__gte=0) & models.Q(weight__lte=1), name="a_weight_is_0_to_1"
            ),
            models.CheckConstraint(
                condition=models.Q(until__gt=models.F("due_at")), name="a_post_has_time_to_be_confirmed"
            ),
            models.CheckConstraint(
                condition=~models.Q(approved_by=models.F("made_by")), name="the_maker_of_a_post_does_not_approve"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="approved") | models.Q(approved_at__isnull=False),
                name="an_approved_post_was_approved",
            ),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @property
    def headline(self) -> str:
        """The first line of what it says."""
        return self.text.strip().partition("\n")[0]

    @property
    def reference(self) -> str:
        """What the address of its link calls it."""
        return f"post-{self.pk}"


class BroadcastTask(models.Model):
    """What one employee is asked for one post.

    ``reference`` is what the provider knows the task by, or what a call whose answer was lost is looked for by; it is
    committed before the call. Employees of one Moments post share it. ``shown`` is how many customers it is shown to,
    by the provider (Moments) or by the size of the groups; somebody in two of them counts twice.
    """

    class State(models.TextChoices):
        PLANNED = "planned", _("Not asked yet")
        OPEN = "open", _("Waits")
        CONFIRMED = "confirmed", _("Confirmed")
        UNCONFIRMED = "unconfirmed", _("Not confirmed")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    broadcast = models.ForeignKey(Broadcast, on_delete=models.CASCADE, related_name="tasks")
    employee = models.ForeignKey(Employee, on_delete=models.PROTECT, related_name="broadcast_tasks")
    state = models.CharField(max_length=12, choices=State, default=State.PLANNED)
    employee_task = models.OneToOneField(
        EmployeeTask, null=True, blank=True, on_delete=models.SET_NULL, related_name="broadcast_task"
    )
    reference = models.CharField(max_length=120, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    shown = models.IntegerField(null=True, blank=True)
    likes = models.IntegerField(default=0)
    comments = models.IntegerField(default=0)
    error = models.CharField(max_length=254, blank=True)

    class Meta:
        ordering = ("employee__name", "id")
        constraints = (
            models.UniqueConstraint(fields=("broadcast", "employee"), name="an_employee_posts_once"),
        )
        indexes = (
            models.Index(
                fields=("broadcast",),
                name="broadcast_task_not_over",
                condition=models.Q(state__in=("planned", "open")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.broadcast_id}: {self.employee_id}"


class BroadcastGroup(models.Model):
    """One chat group of an employee's task, and whether the message went out there."""

    task = models.ForeignKey(BroadcastTask, on_delete=models.CASCADE, related_name="groups")
    group = models.ForeignKey(CustomerGroup, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=20, blank=True)  # "", sent, or why not

    class Meta:
        ordering = ("group__name", "id")
        constraints = (models.UniqueConstraint(fields=("task", "group"), name="a_group_gets_a_post_once"),)

    def __str__(self) -> str:
        return f"{self.task_id}: {self.group_id}"
