"""REST: plans, and what a campaign did: members, targets, touches, attempts, responses."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import Role
from campaigns import policy, progress, readiness, versions
from campaigns.api.campaigns import Guarded
from campaigns.models import (
    Attempt,
    Campaign,
    Member,
    MemberTarget,
    Plan,
    PlanCell,
    PressureRule,
    Touch,
)
from campaigns.models import Response as Reaction


class _InOrder(CursorPagination):
    """Rows of a campaign in an order of their own key: a cursor holds however many there are."""

    page_size_query_param = "page_size"
    max_page_size = 1000


class ByCustomer(_InOrder):
    ordering = ("customer_id",)


class ById(_InOrder):
    ordering = ("id",)


class ByTarget(_InOrder):
    ordering = ("customer_id", "channel_id", "round")


class ByAttempt(_InOrder):
    ordering = ("id",)


# Plans --------------------------------------------------------------------------------------------


class PlanCellSerializer(serializers.ModelSerializer[PlanCell]):
    class Meta:
        model = PlanCell
        fields = (
            "round",
            "channel_id",
            "stage",
            "people",
            "eligible",
            "reach",
            "target",
            "touches",
            "expected_cost",
            "greatest_cost",
            "value",
            "gaps",
            "day_touches",
        )


class PlanSerializer(serializers.ModelSerializer[Plan]):
    stale = serializers.SerializerMethodField(help_text="The definition was changed after it.")

    class Meta:
        model = Plan
        fields = (
            "id",
            "state",
            "stale",
            "method",
            "objective",
            "seed",
            "input_hash",
            "definition_hash",
            "audience",
            "held_out",
            "reach",
            "full_reach",
            "target",
            "touches",
            "expected_cost",
            "greatest_cost",
            "value",
            "expected_revenue",
            "dual_bound",
            "certified_gap",
            "prices",
            "gaps",
            "seconds",
            "error",
            "made_at",
        )

    def get_stale(self, plan: Plan) -> bool:
        return readiness.is_stale(plan, versions.working(plan.campaign))


class PlanWithCellsSerializer(PlanSerializer):
    cells = PlanCellSerializer(many=True, read_only=True)

    class Meta(PlanSerializer.Meta):
        fields: Any = (*PlanSerializer.Meta.fields, "cells")


class _OfCampaign(Guarded):
    write_roles = ()

    def campaign(self) -> Campaign:
        return get_object_or_404(Campaign, pk=self.kwargs["pk"])  # type: ignore[attr-defined]


class Plans(_OfCampaign, generics.ListAPIView[Plan]):
    """Forecasts of a campaign, newest first."""

    serializer_class = PlanSerializer

    def get_queryset(self) -> QuerySet[Plan]:
        if getattr(self, "swagger_fake_view", False):
            return Plan.objects.none()
        return Plan.objects.filter(campaign=self.campaign()).select_related("campaign")


class Forecast(_OfCampaign, APIView):
    """The newest finished forecast, cell by cell."""

    @extend_schema(operation_id="campaigns_forecast", responses=PlanWithCellsSerializer)
    def get(self, request: Request, pk: int) -> Response:
        plan = self.campaign().plans.exclude(state=Plan.State.COMPUTING).prefetch_related("cells").first()
        if plan is None:
            raise NotFound
        return Response(PlanWithCellsSerializer(plan).data)


class GapSerializer(serializers.Serializer[Any]):
    cause = serializers.CharField()
    owner = serializers.CharField()
    touches = serializers.IntegerField(source="n")


class RuleBreakSerializer(serializers.Serializer[Any]):
    """A platform's rule that the approved words of a channel break."""

    rule = serializers.CharField(source="problem.rule")
    label = serializers.CharField(source="problem.rule_label")  # type: ignore[assignment]
    rule_source = serializers.CharField(source="problem.source", help_text="Who says so.")
    since = serializers.DateField(source="problem.since", help_text="From when the rule holds.")
    on = serializers.DateField(help_text="The first day left of the flight on which the words break it.")
    message = serializers.CharField(source="version.message.name")
    version = serializers.IntegerField(source="version.number")
    message_version = serializers.IntegerField(source="version.pk")
    variant = serializers.CharField(source="problem.variant")
    where = serializers.CharField(
        source="problem.where", help_text="subject, text, html, template or channel."
    )
    text = serializers.CharField(source="problem.text")


class RulesSerializer(serializers.Serializer[Any]):
    """How a channel stands with rules that came after the approval."""

    stopped = serializers.BooleanField(help_text="A rule paused it; a person lets it go on.")
    mended = serializers.BooleanField(help_text="Its words break nothing any more: it may go on.")
    cause = serializers.CharField(help_text="Why it was paused, as it was written down then.")
    now = RuleBreakSerializer(many=True, help_text="Broken now: the channel cannot go on.")
    later = RuleBreakSerializer(many=True, help_text="Broken from a later day of the flight on.")


class ChannelProgressSerializer(serializers.Serializer[Any]):
    """target = planned + short; planned = pending + held + sent + delivered + unknown + unobserved + gap + released.

    ``changed``: taken out by an approved change, and out of the target since.
    """

    channel = serializers.IntegerField(source="channel.pk")
    name = serializers.CharField(source="channel.name")
    target = serializers.IntegerField()
    planned = serializers.IntegerField()
    short = serializers.IntegerField()
    pending = serializers.IntegerField()
    held = serializers.IntegerField()
    sent = serializers.IntegerField()
    delivered = serializers.IntegerField()
    unknown = serializers.IntegerField()
    unobserved = serializers.IntegerField()
    gap = serializers.IntegerField()
    released = serializers.IntegerField()
    changed = serializers.IntegerField()
    cost = serializers.DecimalField(max_digits=20, decimal_places=6)
    gaps = serializers.DictField(child=serializers.IntegerField())
    paused_at = serializers.DateTimeField(allow_null=True, help_text="Paused in this campaign since.")
    rules = RulesSerializer(
        allow_null=True, help_text="Platform rules that came after the approval; null: nothing to tell."
    )


class ProgressSerializer(serializers.Serializer[Any]):
    state = serializers.CharField(read_only=True, required=False)
    members = serializers.IntegerField()
    held_out = serializers.IntegerField()
    channels = ChannelProgressSerializer(many=True)
    gaps = GapSerializer(many=True)
    released = GapSerializer(many=True, source="releases")


class ProgressView(_OfCampaign, APIView):
    """How far a released campaign is, counted now."""

    @extend_schema(operation_id="campaigns_progress", responses=ProgressSerializer)
    def get(self, request: Request, pk: int) -> Response:
        campaign = self.campaign()
        found = progress.progress(campaign)
        return Response({"state": campaign.state} | ProgressSerializer(found).data)


# Rows ---------------------------------------------------------------------------------------------


class MemberSerializer(serializers.ModelSerializer[Member]):
    class Meta:
        model = Member
        fields = (
            "customer_id",
            "stage",
            "held_out",
            "arm",
            "zone",
            "state",
            "reason",
            "entered_at",
            "state_at",
            "last_response_at",
        )


class Members(_OfCampaign, generics.ListAPIView[Member]):
    """Who is in a campaign, in customer order."""

    serializer_class = MemberSerializer
    pagination_class = ByCustomer
    filterset_fields = ("customer_id", "stage", "held_out", "arm", "state")

    def get_queryset(self) -> QuerySet[Member]:
        if getattr(self, "swagger_fake_view", False):
            return Member.objects.none()
        return Member.objects.filter(campaign_id=self.campaign().pk)


class TargetSerializer(serializers.ModelSerializer[MemberTarget]):
    class Meta:
        model = MemberTarget
        fields = ("customer_id", "channel_id", "round", "stage", "target", "planned", "cause")


class Targets(_OfCampaign, generics.ListAPIView[MemberTarget]):
    """What each member should get, what was planned, and why less."""

    serializer_class = TargetSerializer
    pagination_class = ByTarget
    filterset_fields = ("customer_id", "channel_id", "round", "stage", "cause")

    def get_queryset(self) -> QuerySet[MemberTarget]:
        if getattr(self, "swagger_fake_view", False):
            return MemberTarget.objects.none()
        return MemberTarget.objects.filter(campaign_id=self.campaign().pk)


class TouchSerializer(serializers.ModelSerializer[Touch]):
    class Meta:
        model = Touch
        fields = (
            "id",
            "customer_id",
            "channel_id",
            "round",
            "ordinal",
            "stage",
            "message_version_id",
            "variant",
            "priority",
            "due_at",
            "deadline_at",
            "state",
            "reason",
            "deferred",
            "attempts",
            "reserved",
            "cost",
            "state_at",
        )


class Touches(_OfCampaign, generics.ListAPIView[Touch]):
    """Planned contacts and what became of them."""

    serializer_class = TouchSerializer
    pagination_class = ById
    filterset_fields = ("customer_id", "channel_id", "round", "stage", "state", "reason")

    def get_queryset(self) -> QuerySet[Touch]:
        if getattr(self, "swagger_fake_view", False):
            return Touch.objects.none()
        return Touch.objects.filter(campaign_id=self.campaign().pk)


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    class Meta:
        model = Attempt
        fields = (
            "id",
            "touch_id",
            "n",
            "customer_id",
            "channel_id",
            "state",
            "reference",
            "code",
            "text",
            "parts",
            "cost",
            "started_at",
            "sent_at",
            "settled_at",
        )


class Attempts(_OfCampaign, generics.ListAPIView[Attempt]):
    """Handings-over to providers."""

    serializer_class = AttemptSerializer
    pagination_class = ByAttempt
    filterset_fields = ("touch_id", "customer_id", "channel_id", "state", "code")

    def get_queryset(self) -> QuerySet[Attempt]:
        if getattr(self, "swagger_fake_view", False):
            return Attempt.objects.none()
        return Attempt.objects.filter(campaign_id=self.campaign().pk)


class ResponseSerializer(serializers.ModelSerializer[Reaction]):
    class Meta:
        model = Reaction
        fields = (
            "id",
            "customer_id",
            "campaign_id",
            "touch_id",
            "channel_id",
            "kind",
            "occurred_at",
            "received_at",
            "machine",
            "value",
            "currency",
            "order_id",
            "source",
            "source_key",
        )


class Responses(Guarded, generics.ListAPIView[Reaction]):
    """Reactions of people, newest first."""

    serializer_class = ResponseSerializer
    queryset = Reaction.objects.all()
    write_roles = ()
    filterset_fields = ("campaign_id", "customer_id", "channel_id", "kind", "machine")


# Contact policy -----------------------------------------------------------------------------------


class PressureRuleSerializer(serializers.ModelSerializer[PressureRule]):
    sentence = serializers.SerializerMethodField(help_text="What the rule means, in words.")

    class Meta:
        model = PressureRule
        fields = (
            "id",
            "name",
            "touches",
            "hours",
            "medium",
            "channel",
            "brand",
            "active",
            "in_force_at",
            "sentence",
        )
        read_only_fields = ("in_force_at",)

    def get_sentence(self, rule: PressureRule) -> str:
        return policy.sentence(rule)

    def create(self, validated_data: dict[str, Any]) -> PressureRule:
        return policy.save(PressureRule(**validated_data), timezone.now())

    def update(self, instance: PressureRule, validated_data: dict[str, Any]) -> PressureRule:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return policy.save(instance, timezone.now())


class PressureRules(Guarded, generics.ListCreateAPIView[PressureRule]):
    """Contact policy: at most so many contacts in any so many hours on end, over all campaigns."""

    serializer_class = PressureRuleSerializer
    queryset = PressureRule.objects.select_related("channel", "brand")
    write_roles = (Role.MARKETER, Role.CHANNEL_ADMIN)


class OnePressureRule(Guarded, generics.RetrieveUpdateDestroyAPIView[PressureRule]):
    """One rule of the contact policy."""

    serializer_class = PressureRuleSerializer
    queryset = PressureRule.objects.select_related("channel", "brand")
    write_roles = (Role.MARKETER, Role.CHANNEL_ADMIN)
    http_method_names = ("get", "patch", "delete", "head", "options")

    def perform_destroy(self, instance: PressureRule) -> None:
        policy.delete(instance)
