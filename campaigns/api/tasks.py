"""REST: touches and placements made by people."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import Role
from campaigns import kol, people_tasks
from campaigns.api.campaigns import Conflict, Guarded
from campaigns.models import PeopleTask
from channels.models import Employee

WRITERS = (Role.MARKETER, Role.CHANNEL_ADMIN)


class TaskSerializer(serializers.ModelSerializer[PeopleTask]):
    outcomes = serializers.SerializerMethodField(help_text="What may be reported while it is open.")

    def get_outcomes(self, task: PeopleTask) -> list[str]:
        if task.state != PeopleTask.State.OPEN:
            return []
        return [value for group in people_tasks.choices(task) for value, _label in group]

    class Meta:
        model = PeopleTask
        fields = (
            "id",
            "campaign_id",
            "touch_id",
            "channel",
            "customer",
            "employee",
            "title",
            "note",
            "due_at",
            "state",
            "outcome",
            "outcomes",
            "done_at",
        )


class AssignSerializer(serializers.Serializer[Any]):
    employee = serializers.PrimaryKeyRelatedField(
        queryset=Employee.objects.filter(left_at=None), allow_null=True, help_text="null: nobody."
    )


class ReportSerializer(serializers.Serializer[Any]):
    outcome = serializers.CharField(max_length=40, help_text="One of the task's outcomes.")
    note = serializers.CharField(max_length=2000, default="", allow_blank=True)


class Tasks(Guarded, generics.ListAPIView[PeopleTask]):
    """Calls, visits, placements and KOL posts that somebody is to make."""

    serializer_class = TaskSerializer
    queryset = PeopleTask.objects.order_by("id")
    filterset_fields = ("campaign_id", "channel", "employee", "state")
    write_roles = ()


class OneTask(Guarded, generics.RetrieveAPIView[PeopleTask]):
    serializer_class = TaskSerializer
    queryset = PeopleTask.objects.all()
    write_roles = WRITERS

    @extend_schema(request=AssignSerializer, responses=TaskSerializer)
    def patch(self, request: Request, pk: int) -> Response:
        """Whose task it is; 409 once it was reported on."""
        found = get_object_or_404(PeopleTask, pk=pk)
        given = AssignSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            found = people_tasks.assign(found, given.validated_data["employee"])
        except people_tasks.AlreadyDone as error:
            raise Conflict(str(error)) from None
        except DjangoValidationError as error:
            raise serializers.ValidationError({"employee": error.messages}) from None
        return Response(TaskSerializer(found).data)


class TaskReport(Guarded, APIView):
    write_roles = WRITERS

    @extend_schema(request=ReportSerializer, responses=TaskSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """What became of it; it takes force two minutes later, and 409 tells that somebody reported before. Of a KOL's post
        say so at ``kol-posts/``."""
        found = get_object_or_404(PeopleTask, pk=pk)
        given = ReportSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        good, bad = (dict(told) for told in people_tasks.choices(found))
        outcome = given.validated_data["outcome"]
        if kol.of_task(found) is not None:
            raise serializers.ValidationError({"outcome": [_("A KOL's post is reported at kol-posts/.")]})
        if outcome not in good | bad:
            raise serializers.ValidationError(
                {"outcome": [_("One of: %(outcomes)s.") % {"outcomes": ", ".join(good | bad)}]}
            )
        try:
            found = people_tasks.report(
                found,
                reached=outcome in good,
                outcome=outcome,
                note=given.validated_data["note"],
                now=timezone.now(),
            )
        except people_tasks.AlreadyDone as error:
            raise Conflict(str(error)) from None
        return Response(TaskSerializer(found).data)


class TaskUndo(Guarded, APIView):
    write_roles = WRITERS

    @extend_schema(request=None, responses=TaskSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Take a report back while it has not taken force; 409 after that."""
        try:
            found = people_tasks.undo(get_object_or_404(PeopleTask, pk=pk), timezone.now())
        except people_tasks.TooLate as error:
            raise Conflict(str(error)) from None
        return Response(TaskSerializer(found).data)
