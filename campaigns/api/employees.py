"""REST: the employees of a channel."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import Role
from campaigns import employee_tasks
from campaigns.api.campaigns import Guarded
from channels import employees as roster
from channels.models import Channel, Employee


class EmployeeSerializer(serializers.Serializer[Any]):
    """Figures are of the last seven days, where nothing else is said."""

    id = serializers.IntegerField(source="pk")
    external_id = serializers.CharField()
    name = serializers.CharField()
    store = serializers.CharField()
    daily_tasks = serializers.IntegerField(help_text="Tasks a day at most.")
    left_at = serializers.DateTimeField(allow_null=True)
    contacts = serializers.IntegerField(help_text="Customers now.")
    groups = serializers.IntegerField(help_text="Chat groups now.")
    tasks_today = serializers.IntegerField()
    confirmed_today = serializers.IntegerField()
    tasks = serializers.IntegerField()
    confirmed = serializers.IntegerField()
    customers_added = serializers.IntegerField()
    deletions = serializers.IntegerField()
    first_reply_minutes = serializers.FloatField(allow_null=True)
    clicks = serializers.IntegerField(help_text="On shared links: known by employee, not by person.")


class DailyTasksSerializer(serializers.Serializer[Any]):
    daily_tasks = serializers.IntegerField(min_value=0, max_value=100_000)


class Employees(Guarded, APIView):
    """Who may send on a channel; those who left come last."""

    @extend_schema(operation_id="channel_employees_list", responses=EmployeeSerializer(many=True))
    def get(self, request: Request, pk: int) -> Response:
        channel, now = get_object_or_404(Channel, pk=pk), timezone.now()
        shares = employee_tasks.shares(channel, now)
        told = []
        for row in roster.of_channel(channel, now):
            share = shares.get(row.pk, employee_tasks.Share())
            told.append(
                {
                    **{name: getattr(row, name) for name in row.__dataclass_fields__},
                    "tasks_today": share.today, "confirmed_today": share.confirmed_today, "tasks": share.week,
                    "confirmed": share.confirmed_week,
                }
            )  # fmt: skip
        return Response(EmployeeSerializer(told, many=True).data)


class OneEmployee(Guarded, APIView):
    write_roles = (Role.CHANNEL_ADMIN,)

    @extend_schema(
        operation_id="channel_employee_update", request=DailyTasksSerializer, responses=DailyTasksSerializer
    )
    def patch(self, request: Request, pk: int, employee: int) -> Response:
        """How many tasks a day the employee may get."""
        found = get_object_or_404(Employee, pk=employee, channel_id=pk)
        given = DailyTasksSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        roster.set_daily_tasks(found, given.validated_data["daily_tasks"])
        return Response(given.validated_data)
