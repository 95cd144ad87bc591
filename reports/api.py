"""REST: coverage, ROI and the ledger, as the screens show them."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import ANYBODY, Role, RolePermission
from campaigns.models import Campaign
from reports.broadcasts import posts_of
from reports.coverage import Count, coverage
from reports.models import LedgerEntry
from reports.roi import roi
from reports.signing import content_of


class CountSerializer(serializers.Serializer[Any]):
    """target = reached + unknown + unobserved + pending + released + gap, in touches.

    ``changed``: taken out by an approved change, and so no part of the target any more.
    """

    people = serializers.IntegerField(allow_null=True)
    target = serializers.IntegerField()
    planned = serializers.IntegerField()
    reached = serializers.IntegerField()
    delivered = serializers.IntegerField()
    unknown = serializers.IntegerField()
    unobserved = serializers.IntegerField()
    pending = serializers.IntegerField()
    released = serializers.IntegerField()
    changed = serializers.IntegerField()
    gap = serializers.IntegerField()
    over = serializers.IntegerField()


class CauseSerializer(serializers.Serializer[Any]):
    cause = serializers.CharField()
    owner = serializers.CharField()
    touches = serializers.IntegerField()


class ChannelCoverageSerializer(CountSerializer):
    channel = serializers.IntegerField()
    name = serializers.CharField()
    observability = serializers.CharField()
    stages = serializers.DictField(child=CountSerializer())


class PostsSerializer(serializers.Serializer[Any]):
    """Messages to chat groups and Moments posts: unobserved, apart from touches. ``weighted`` = shown × weight."""

    channel = serializers.IntegerField(source="channel.pk")
    kind = serializers.CharField()
    weight = serializers.CharField()
    posts = serializers.IntegerField()
    tasks = serializers.IntegerField()
    confirmed = serializers.IntegerField()
    waiting = serializers.IntegerField()
    unconfirmed = serializers.IntegerField()
    failed = serializers.IntegerField()
    shown = serializers.IntegerField()
    weighted = serializers.CharField()
    likes = serializers.IntegerField()
    comments = serializers.IntegerField()
    visits = serializers.IntegerField(allow_null=True)


class CoverageSerializer(serializers.Serializer[Any]):
    campaign = serializers.IntegerField()
    as_of = serializers.DateTimeField()
    people_as_of = serializers.DateTimeField()
    over_by_us = serializers.IntegerField()
    over_by_platform = serializers.IntegerField()
    over_by_merge = serializers.IntegerField()
    over_reported_at_least = serializers.IntegerField(allow_null=True)
    members = serializers.IntegerField()
    held_out = serializers.IntegerField()
    total = CountSerializer()
    causes = CauseSerializer(many=True)
    released = serializers.DictField(child=serializers.IntegerField())
    channels = ChannelCoverageSerializer(many=True)
    phases = serializers.ListField(child=serializers.DictField())
    by_stage = serializers.DictField(child=CountSerializer())
    days = serializers.DictField(child=CountSerializer())
    histogram = serializers.ListField(child=serializers.DictField(child=serializers.IntegerField()))
    posts = PostsSerializer(many=True)


def _count(count: Count) -> dict[str, int | None]:
    names = (
        "people",
        "target",
        "planned",
        "reached",
        "delivered",
        "unknown",
        "unobserved",
        "pending",
        "changed",
        "gap",
    )
    return {
        **{name: getattr(count, name) for name in names},
        "released": count.released_total,
        "over": count.over_total,
    }


class CoverageView(APIView):
    """Target, planned, reached, over, gap by cause and owner, released."""

    permission_classes = (RolePermission,)
    read_roles = ANYBODY
    write_roles = ()

    @extend_schema(responses=CoverageSerializer)
    def get(self, request: Request, campaign_id: int) -> Response:
        report = coverage(get_object_or_404(Campaign, pk=campaign_id))
        return Response(
            {
                "campaign": campaign_id,
                "as_of": report.as_of,
                "people_as_of": report.people_as_of,
                **report.over,
                "over_reported_at_least": report.over_reported,
                "members": report.members["members"],
                "held_out": report.members["held_out"],
                "total": _count(report.total),
                "causes": [
                    {"cause": line.cause, "owner": line.owner, "touches": line.touches}
                    for line in report.causes
                ],
                "released": dict(report.total.released),
                "channels": [
                    {
                        "channel": line.channel.pk,
                        "name": line.channel.name,
                        "observability": line.channel.observability,
                        "stages": {stage: _count(count) for stage, count in line.stages.items()},
                        **_count(line.count),
                    }
                    for line in report.channels
                ],
                "phases": [
                    {
                        "phase": phase.name,
                        **_count(count),
                        "rounds": [{"round": each.number, **_count(own)} for each, own in rounds],
                    }
                    for phase, count, rounds in report.phases
                ],
                "by_stage": {stage: _count(count) for stage, count in report.stages.items()},
                "days": {day.isoformat(): _count(count) for day, count in report.days},
                "histogram": report.histogram,
                "posts": PostsSerializer(posts_of(campaign_id), many=True).data,
            }
        )


class RoiSerializer(serializers.Serializer[Any]):
    """Money as strings, in the campaign's currency; ratios with interval and basis, or null with the reason."""

    campaign = serializers.DictField()
    basis = serializers.CharField()
    spend = serializers.ListField(child=serializers.DictField())
    full_cost = serializers.CharField()
    budget = serializers.CharField(allow_null=True)
    attribution = serializers.DictField()
    lift = serializers.DictField()
    ratios = serializers.DictField()


class RoiView(APIView):
    """Spend from the ledger, attribution and lift (management estimates), and the ratios with their basis."""

    permission_classes = (RolePermission,)
    read_roles = ANYBODY
    write_roles = ()

    @extend_schema(responses=RoiSerializer)
    def get(self, request: Request, campaign_id: int) -> Response:
        return Response(content_of(roi(get_object_or_404(Campaign, pk=campaign_id), timezone.now())))


class LedgerEntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    period = serializers.CharField(source="period.__str__", read_only=True)
    document = serializers.CharField(source="document.number", read_only=True)

    class Meta:
        model = LedgerEntry
        fields = (
            "id",
            "batch",
            "line",
            "side",
            "stage",
            "account",
            "campaign_id",
            "channel_id",
            "cost_centre",
            "legal_entity",
            "service_date",
            "period",
            "amount",
            "residual",
            "currency",
            "fx_rate",
            "functional_amount",
            "document",
            "allocation",
            "reverses",
        )


class LedgerView(generics.ListAPIView[LedgerEntry]):
    """Ledger lines, newest first; ``campaign`` narrows. Costs come in at ``imports/`` as the kind ``costs``."""

    permission_classes = (RolePermission,)
    read_roles = (Role.FINANCE, Role.APPROVER, Role.MARKETER)
    write_roles = ()
    serializer_class = LedgerEntrySerializer
    queryset = LedgerEntry.objects.select_related("period", "document")

    @extend_schema(parameters=[OpenApiParameter("campaign", int)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> Any:
        found = super().get_queryset()
        campaign = self.request.query_params.get("campaign", "")
        return found.filter(campaign_id=int(campaign)) if campaign.isdigit() and len(campaign) < 19 else found
