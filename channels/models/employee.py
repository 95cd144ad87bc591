"""What a provider tells of employees day by day, and of the groups they keep with customers."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from channels.models.channel import Channel, Employee


class EmployeeDay(models.Model):
    """One employee on one day, as the provider counts it (WeCom: ``get_user_behavior_data``)."""

    employee = models.ForeignKey(Employee, on_delete=models.CASCADE, related_name="days")
    day = models.DateField()
    customers_added = models.IntegerField(_("customers added"), default=0)
    deletions = models.IntegerField(
        _("deletions"), default=0
    )  # customers who deleted or blocked the employee
    messages = models.IntegerField(_("messages"), default=0)
    first_reply_minutes = models.FloatField(_("first reply, minutes"), null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("employee", "day"), name="an_employee_has_one_row_a_day"),
        )

    def __str__(self) -> str:
        return f"{self.employee_id} {self.day}"


class CustomerGroup(models.Model):
    """A chat group of an employee with customers."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="groups")
    external_id = models.CharField(max_length=80)
    name = models.CharField(_("name"), max_length=120, blank=True)
    owner = models.ForeignKey(
        Employee, null=True, blank=True, on_delete=models.SET_NULL, related_name="groups"
    )
    customers = models.IntegerField(_("customers"), default=0)
    gone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("channel", "external_id"), name="a_group_is_one_row"),)

    def __str__(self) -> str:
        return self.name or self.external_id
