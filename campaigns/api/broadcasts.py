"""REST: posts to chat groups and Moments in campaigns."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import Role
from campaigns import broadcast_rules
from campaigns import broadcasts as rules
from campaigns.api.campaigns import Guarded
from campaigns.models import Broadcast, BroadcastTask, Campaign
from channels.models import Channel, CustomerGroup, Employee


class BroadcastTaskSerializer(serializers.ModelSerializer[BroadcastTask]):
    employee_name = serializers.CharField(source="employee.name")
    groups = serializers.SerializerMethodField(help_text="Group → sent, why not, or empty while it waits.")

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
    def get_groups(self, task: BroadcastTask) -> dict[str, str]:
        return {one.group.external_id: one.state for one in task.groups.all()}

    class Meta:
        model = BroadcastTask
        fields = (
            "employee",
            "employee_name",
            "state",
            "asked_at",
            "confirmed_at",
            "shown",
            "likes",
            "comments",
            "error",
            "groups",
        )


class BroadcastSerializer(serializers.ModelSerializer[Broadcast]):
    shown = serializers.SerializerMethodField(
        help_text="Customers it was shown to; nobody is known to have looked. Who is there twice counts twice."
    )
    weighted = serializers.SerializerMethodField(help_text="shown × weight, in messages to one customer.")
    tasks = BroadcastTaskSerializer(many=True)
    broken_rules = serializers.SerializerMethodField(
        help_text="Platform rules, come after the approval, that its words break: nobody is asked for it."
    )

    def get_broken_rules(self, post: Broadcast) -> list[str]:
        return broadcast_rules.broken(post, timezone.now()) if post.state == Broadcast.State.APPROVED else []

    def get_shown(self, post: Broadcast) -> int:
        return sum(task.shown or 0 for task in post.tasks.all())

    def get_weighted(self, post: Broadcast) -> str:
        return str(self.get_shown(post) * post.weight)

    class Meta:
        model = Broadcast
        fields = (
            "id",
            "campaign",
            "channel",
            "kind",
            "text",
            "weight",
            "due_at",
            "until",
            "state",
            "approved_at",
            "shown",
            "weighted",
            "broken_rules",
            "tasks",
        )


class NewBroadcastSerializer(serializers.Serializer[Any]):
    campaign = serializers.PrimaryKeyRelatedField(queryset=Campaign.objects.all())
    channel = serializers.PrimaryKeyRelatedField(queryset=Channel.objects.all())
    kind = serializers.ChoiceField(choices=Broadcast.Kind.choices)
    text = serializers.CharField(max_length=4000)
    url = serializers.URLField(
        max_length=1500, default="", allow_blank=True, help_text="Where its link leads."
    )
    due_at = serializers.DateTimeField()
    employees = serializers.PrimaryKeyRelatedField(
        queryset=Employee.objects.all(), many=True, default=(), help_text="Who posts it (moments)."
    )
    groups = serializers.PrimaryKeyRelatedField(
        queryset=CustomerGroup.objects.select_related("owner"),
        many=True,
        default=(),
        help_text="Where it goes (group).",
    )


def _refused(error: DjangoValidationError) -> serializers.ValidationError:
    return serializers.ValidationError(
        error.message_dict if hasattr(error, "error_dict") else {"non_field_errors": error.messages}
    )


def _all() -> "QuerySet[Broadcast]":
    return (
        Broadcast.objects.select_related("campaign", "channel")
        .prefetch_related("tasks__employee", "tasks__groups__group")
        .order_by("id")
    )


class Broadcasts(Guarded, generics.ListAPIView[Broadcast]):
    """Messages to chat groups and Moments posts of campaigns; a new one waits for approval by somebody else."""

    serializer_class = BroadcastSerializer
    queryset = _all()
    filterset_fields = ("campaign", "channel", "kind", "state")

    @extend_schema(request=NewBroadcastSerializer, responses={201: BroadcastSerializer})
    def post(self, request: Request) -> Response:
        given = NewBroadcastSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            made = rules.plan(**given.validated_data, user=request.user)
        except DjangoValidationError as error:
            raise _refused(error) from None
        return Response(BroadcastSerializer(_all().get(pk=made.pk)).data, status=status.HTTP_201_CREATED)


class OneBroadcast(Guarded, generics.RetrieveAPIView[Broadcast]):
    serializer_class = BroadcastSerializer
    queryset = _all()


class BroadcastApprove(Guarded, APIView):
    """By somebody else than who planned it: employees are asked from its time on."""

    write_roles = (Role.APPROVER,)

    @extend_schema(request=None, responses=BroadcastSerializer)
    def post(self, request: Request, pk: int) -> Response:
        try:
            rules.approve(get_object_or_404(Broadcast, pk=pk), request.user, timezone.now())
        except DjangoValidationError as error:
            raise _refused(error) from None
        return Response(BroadcastSerializer(_all().get(pk=pk)).data)


class BroadcastCancel(Guarded, APIView):
    """Nobody is asked any more; tasks that wait are taken back. What was confirmed stands."""

    write_roles = (Role.MARKETER, Role.APPROVER)

    @extend_schema(request=None, responses=BroadcastSerializer)
    def post(self, request: Request, pk: int) -> Response:
        try:
            rules.cancel(get_object_or_404(Broadcast, pk=pk))
        except DjangoValidationError as error:
            raise _refused(error) from None
        return Response(BroadcastSerializer(_all().get(pk=pk)).data)
