"""REST: occasions, how a campaign runs, for whom it opened, and what came of its offer."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from campaigns import cadence, definition, occasions, offers, versions
from campaigns.api.campaigns import Conflict, Guarded
from campaigns.models import Campaign, Occasion, Opening


class OccasionSerializer(serializers.ModelSerializer[Occasion]):
    """``rule`` by kind: ``{"calendar": "own|solar|lunar"}`` of birthdays; ``{"calendar", "month", "day"}`` of festivals

    and shopping days; ``{"of": "registered|first_order"}`` of anniversaries; ``{"event"}`` of behaviours.
    """

    sentence = serializers.SerializerMethodField(help_text="The rule in words.")

    class Meta:
        model = Occasion
        fields = ("id", "name", "kind", "rule", "lead_days", "segment", "sentence")

    @extend_schema_field(str)
    def get_sentence(self, occasion: Occasion) -> str:
        return occasions.sentence(occasion)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        kind = attrs.get("kind", getattr(self.instance, "kind", ""))
        rule = attrs.get("rule", getattr(self.instance, "rule", {}))
        if not isinstance(rule, dict):
            raise serializers.ValidationError({"rule": "object"})
        try:
            attrs["rule"] = occasions.check(kind, rule)
        except occasions.OccasionError as error:
            raise serializers.ValidationError({"rule": str(error)}) from error
        return attrs


class Occasions(Guarded, generics.ListCreateAPIView[Occasion]):
    """Good moments: birthdays, festivals, shopping days, anniversaries, behaviours."""

    serializer_class = OccasionSerializer
    queryset = Occasion.objects.select_related("segment")
    filterset_fields = ("kind", "name")


class OneOccasion(Guarded, generics.RetrieveUpdateDestroyAPIView[Occasion]):
    serializer_class = OccasionSerializer
    queryset = Occasion.objects.select_related("segment")
    http_method_names = ("get", "patch", "delete", "head", "options")

    def perform_destroy(self, instance: Occasion) -> None:
        try:
            occasions.delete(instance)
        except occasions.OccasionError as error:
            raise Conflict(str(error)) from error


class DaySerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    people = serializers.IntegerField()


class PreviewSerializer(serializers.Serializer[Any]):
    people = serializers.IntegerField()
    past = serializers.BooleanField(help_text="Of a behaviour: who did it in the days past.")
    days = DaySerializer(many=True)


class OccasionPreview(Guarded, APIView):
    """Who has an occasion in the next 30 days."""

    @extend_schema(operation_id="occasions_preview", responses=PreviewSerializer)
    def get(self, request: Request, pk: int) -> Response:
        found = occasions.preview(
            occasions.entry(get_object_or_404(Occasion, pk=pk)) or {}, timezone.localdate()
        )
        days = [{"day": day, "people": people} for day, people in found.days]
        told = {"people": found.people, "past": found.past, "days": days}
        return Response(PreviewSerializer(told).data)


class RunSerializer(serializers.Serializer[Any]):
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class RunsSerializer(serializers.Serializer[Any]):
    sentence = serializers.CharField(help_text="How it runs, in words.")
    runs = RunSerializer(many=True, help_text="Of a recurring campaign.")


class Runs(Guarded, APIView):
    """How a campaign runs, and the dates of its runs."""

    @extend_schema(operation_id="campaigns_runs", responses=RunsSerializer)
    def get(self, request: Request, pk: int) -> Response:
        document = versions.working(get_object_or_404(Campaign, pk=pk))
        starts_at = definition.as_moment(document["starts_at"])
        spans = (
            cadence.runs(document["cadence"], starts_at, document["zone"])
            if starts_at and cadence.is_recurring(document)
            else []
        )
        told = {
            "sentence": cadence.sentence(document),
            "runs": [{"starts_at": begins, "ends_at": ends} for begins, ends in spans],
        }
        return Response(RunsSerializer(told).data)


class OpeningSerializer(serializers.ModelSerializer[Opening]):
    class Meta:
        model = Opening
        fields = ("id", "customer_id", "key", "opens_at", "opened_at", "round", "reason")


class Openings(Guarded, generics.ListAPIView[Opening]):
    """For whom a triggered campaign opens, opened, or did not, and why not."""

    serializer_class = OpeningSerializer
    queryset = Opening.objects.none()
    filterset_fields = ("customer_id", "round", "reason")

    def get_queryset(self) -> QuerySet[Opening]:
        return Opening.objects.filter(campaign_id=self.kwargs.get("pk", 0))


class OfferStandingSerializer(serializers.Serializer[Any]):
    offer = serializers.IntegerField()
    given = serializers.IntegerField()
    redeemed = serializers.IntegerField()
    cost = serializers.DecimalField(max_digits=18, decimal_places=4)


class OfferStanding(Guarded, APIView):
    """What came of a campaign's offer: given, redeemed, and what that cost."""

    @extend_schema(operation_id="campaigns_offer", responses={200: OfferStandingSerializer, 204: None})
    def get(self, request: Request, pk: int) -> Response:
        found = offers.standing(get_object_or_404(Campaign.objects.select_related("offer"), pk=pk))
        if found is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        told = {"offer": found.offer.pk, "given": found.given, "redeemed": found.redeemed, "cost": found.cost}
        return Response(OfferStandingSerializer(told).data)
