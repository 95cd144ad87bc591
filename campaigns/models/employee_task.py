"""What employees are asked to confirm."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from channels.models import Channel


class EmployeeTask(models.Model):
    """A task an employee must confirm, made at a provider: one message to many of the employee's customers, or a post
    to many (:class:`campaigns.models.BroadcastTask`), which carries no attempt.

    Reserved before the call (``reference`` is empty), so that tasks a day are exact under any number of workers.
    """

    class State(models.TextChoices):
        OPEN = "open", _("Waits")
        CONFIRMED = "confirmed", _("Confirmed")
        ENDED = "ended", _("Not confirmed")

    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="+")
    employee = models.ForeignKey("channels.Employee", on_delete=models.PROTECT, related_name="tasks")
    day = models.DateField()  # of the installation's zone
    campaign_id = models.BigIntegerField()
    attempt_id = models.BigIntegerField(null=True, blank=True)  # of those it carries: all settle together
    customers = models.IntegerField(default=0)
    reference = models.CharField(max_length=80, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    made_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    reminders = models.SmallIntegerField(default=0)
    reminded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("employee", "day"), name="employee_task_by_day"),
            models.Index(fields=("channel",), name="employee_task_open", condition=models.Q(state="open")),
        )

    def __str__(self) -> str:
        return self.reference or f"{self.employee_id} {self.day}"
