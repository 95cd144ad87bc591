"""REST: segments, how many they hold and how those can be reached."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences import segments_saved
from audiences.api.people import CustomerSerializer, Guarded
from audiences.models import Customer, Segment
from audiences.registers import rule_kinds
from audiences.segments import compiling, counting, rules, words


@extend_schema_field(OpenApiTypes.OBJECT)
class RuleField(serializers.JSONField):
    """A tree of ``all``, ``any``, ``not`` and conditions; see /segment-rule-kinds/."""

    def to_internal_value(self, data: Any) -> Any:
        rule = super().to_internal_value(data)
        try:
            rules.check(rule, segment_id=self.context.get("segment_id"))
        except rules.InvalidRule as error:
            raise serializers.ValidationError(
                [f"{'/'.join(map(str, path)) or 'rule'}: {fault}" for path, fault in error.faults.items()]
            ) from None
        return rule


class SegmentSerializer(serializers.ModelSerializer[Segment]):
    rule = RuleField(
        allow_null=True, required=False, help_text="Null: a fixed list, filled by the import kind “lists”."
    )
    in_words = serializers.SerializerMethodField()

    class Meta:
        model = Segment
        fields = (
            "id",
            "name",
            "description",
            "rule",
            "in_words",
            "counted",
            "counted_at",
            "archived_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("id", "counted", "counted_at", "archived_at", "created_at", "updated_at")

    def get_in_words(self, segment: Segment) -> str:
        return words.in_words(segment)

    def get_extra_kwargs(self) -> dict[str, Any]:
        return {**super().get_extra_kwargs(), "name": {"validators": []}}  # told by segments_saved

    def create(self, validated_data: dict[str, Any]) -> Segment:
        if validated_data.get("rule") is None:
            raise serializers.ValidationError(
                {"rule": "A rule is wanted; lists are filled by POST /lists/batch/."}
            )
        return self._save(Segment(), validated_data)

    def update(self, instance: Segment, validated_data: dict[str, Any]) -> Segment:
        if instance.rule is None and validated_data.get("rule") is not None:
            raise serializers.ValidationError({"rule": "A fixed list has no rule."})
        return self._save(instance, validated_data)

    def _save(self, segment: Segment, told: dict[str, Any]) -> Segment:
        try:
            return segments_saved.save(
                segment,
                name=told.get("name", segment.name),
                description=told.get("description", segment.description),
                rule=told.get("rule", segment.rule),
                user=self.context["request"].user,
            )
        except ValueError as error:
            raise serializers.ValidationError({"name": [str(error)]}) from None


class Segments(Guarded, generics.ListCreateAPIView[Segment]):
    """Segments in use. A new one is counted exactly."""

    serializer_class = SegmentSerializer
    queryset = Segment.objects.filter(archived_at=None)
    filterset_fields = ("name",)


class OneSegment(Guarded, generics.RetrieveUpdateAPIView[Segment]):
    """One segment. There is no deletion: archive it."""

    serializer_class = SegmentSerializer
    queryset = Segment.objects.all()
    http_method_names = ("get", "patch", "head", "options")

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "segment_id": self.kwargs.get("pk")}


class SegmentCountSerializer(serializers.Serializer[Any]):
    n = serializers.IntegerField()
    margin = serializers.IntegerField(help_text="Give or take so many, at 95 %; 0: exact.")
    in_words = serializers.CharField()


class SegmentRuleSerializer(serializers.Serializer[Any]):
    rule = RuleField()
    exact = serializers.BooleanField(
        default=False, help_text="Count every one instead of a sample of a large base."
    )


class Count(Guarded, APIView):
    """How many a rule holds, without saving it."""

    @extend_schema(
        operation_id="segments_count_rule", request=SegmentRuleSerializer, responses=SegmentCountSerializer
    )
    def post(self, request: Request) -> Response:
        asked = SegmentRuleSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        rule = asked.validated_data["rule"]
        found = compiling.matching(rule)
        told = (
            counting.Preview(counting.count(found))
            if asked.validated_data["exact"]
            else counting.preview(found)
        )
        return Response({"n": told.n, "margin": told.margin, "in_words": words.sentence(rule)})


class CountAgain(Guarded, APIView):
    """Count a segment exactly, and remember it."""

    @extend_schema(operation_id="segments_count", request=None, responses=SegmentSerializer)
    def post(self, request: Request, pk: int) -> Response:
        segment = get_object_or_404(Segment, pk=pk)
        segments_saved.count_again(segment)
        return Response(SegmentSerializer(segment).data)


class Archive(Guarded, APIView):
    """Into the archive; refused while another segment uses it."""

    @extend_schema(operation_id="segments_archive", request=None, responses=SegmentSerializer)
    def post(self, request: Request, pk: int) -> Response:
        segment = get_object_or_404(Segment, pk=pk)
        try:
            segments_saved.archive(segment)
        except ValueError as error:
            raise serializers.ValidationError({"detail": str(error)}) from None
        return Response(SegmentSerializer(segment).data)


class SegmentReachedSerializer(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    note = serializers.CharField()
    n = serializers.IntegerField()
    without_identity = serializers.IntegerField()
    without_consent = serializers.IntegerField()


class SegmentReachSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    exact = serializers.BooleanField()
    stages = serializers.DictField(child=serializers.IntegerField())
    channels = SegmentReachedSerializer(many=True)


class Reach(Guarded, APIView):
    """How many of a segment each channel reaches, and what the others lack."""

    write_roles = ()

    @extend_schema(
        operation_id="segments_reach",
        parameters=[OpenApiParameter("exact", OpenApiTypes.BOOL)],
        responses=SegmentReachSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        segment = get_object_or_404(Segment, pk=pk)
        exact = request.query_params.get("exact", "") in ("1", "true", "True")
        told = segments_saved.estimate(compiling.customers(segment), exact=exact)
        rows = [
            {
                "label": str(row.label),
                "note": str(row.note),
                "n": row.n,
                "without_identity": row.without_identity,
                "without_consent": row.without_consent,
            }
            for row in told.rows
        ]
        return Response({"total": told.total, "exact": told.exact, "stages": told.stages, "channels": rows})


class Members(Guarded, generics.ListAPIView[Customer]):
    """Who is in a segment now."""

    serializer_class = CustomerSerializer
    queryset = Customer.objects.none()
    write_roles = ()

    def get_queryset(self) -> QuerySet[Customer]:
        if getattr(self, "swagger_fake_view", False):
            return Customer.objects.none()
        return compiling.customers(get_object_or_404(Segment, pk=self.kwargs["pk"]))


class SegmentRuleKindSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    schema = serializers.DictField(help_text="JSON schema of the condition.")


class RuleKinds(Guarded, APIView):
    """The kinds of conditions a rule may have."""

    write_roles = ()

    @extend_schema(operation_id="segment_rule_kinds_list", responses=SegmentRuleKindSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(
            [
                {"name": name, "label": str(kind.label), "schema": kind.schema}
                for name, kind in rule_kinds.items()
            ]
        )
