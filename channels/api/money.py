"""REST: daily reports, spend, wallets. Loaded through /imports/ with the kinds spend, wallet and balances."""

from datetime import timedelta
from typing import Any

import django_filters
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from channels import spend_sheet, wallets
from channels.api.channels import Guarded
from channels.models import DailyReport, WalletEntry
from channels.queries import money


class ReportSerializer(serializers.ModelSerializer[DailyReport]):
    class Meta:
        model = DailyReport
        fields = (
            "id",
            "channel",
            "day",
            "placement",
            "version",
            "campaign_id",
            "currency",
            "spend",
            "exposures",
            "clicks",
            "reach",
            "frequency",
            "conversions",
            "source",
            "fetched_at",
        )


class ReportFilter(django_filters.FilterSet):
    day_from = django_filters.DateFilter(field_name="day", lookup_expr="gte")
    day_to = django_filters.DateFilter(field_name="day", lookup_expr="lte")

    class Meta:
        model = DailyReport
        fields = ("channel", "day", "placement", "campaign_id")


class Reports(Guarded, generics.ListAPIView[DailyReport]):
    """Every version of every daily report; the highest version of a channel, day and placement counts."""

    serializer_class = ReportSerializer
    queryset = DailyReport.objects.all()
    filterset_class = ReportFilter
    write_roles = ()


class SpendSerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    channel = serializers.IntegerField()
    currency = serializers.CharField()
    spend = serializers.DecimalField(max_digits=18, decimal_places=4)
    exposures = serializers.IntegerField(allow_null=True)
    clicks = serializers.IntegerField(allow_null=True)
    placements = serializers.IntegerField()


class SpanSerializer(serializers.Serializer[Any]):
    day_from = serializers.DateField(required=False)
    day_to = serializers.DateField(required=False)
    channel = serializers.IntegerField(required=False)


class Spend(Guarded, APIView):
    """The sheet: one row a day, channel and currency, of the versions that count; 14 days unless told."""

    write_roles = ()

    @extend_schema(
        operation_id="spend_list",
        responses=SpendSerializer(many=True),
        parameters=[
            OpenApiParameter("day_from", OpenApiTypes.DATE),
            OpenApiParameter("day_to", OpenApiTypes.DATE),
            OpenApiParameter("channel", OpenApiTypes.INT),
        ],
    )
    def get(self, request: Request) -> Response:
        asked = SpanSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        last = asked.validated_data.get("day_to") or timezone.localdate()
        first = asked.validated_data.get("day_from") or last - timedelta(days=13)
        if last - first > timedelta(days=366):
            raise serializers.ValidationError({"day_from": "At most 366 days in one call."})
        rows = money.sheet(first, last, asked.validated_data.get("channel"))
        names = ("day", "channel", "currency", "spend", "exposures", "clicks", "placements")
        return Response(
            SpendSerializer([dict(zip(names, row, strict=False)) for row in rows], many=True).data
        )


class SheetLineSerializer(serializers.Serializer[Any]):
    """``balance`` is null for an account without a wallet; ``pace`` is 1 when spending as evenly as planned."""

    channel = serializers.IntegerField(source="channel.pk")
    unit = serializers.CharField()
    balance = serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True)
    difference = serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True)
    top_up = serializers.DecimalField(max_digits=18, decimal_places=4)
    bonus = serializers.DecimalField(max_digits=18, decimal_places=4)
    cash_consumption = serializers.DecimalField(max_digits=18, decimal_places=4, source="cash")
    bonus_consumption = serializers.DecimalField(max_digits=18, decimal_places=4, source="from_bonus")
    budget = serializers.DecimalField(
        max_digits=18, decimal_places=4, source="budget.amount", allow_null=True, default=None
    )
    spent = serializers.DecimalField(
        max_digits=24, decimal_places=6, source="budget.spent", allow_null=True, default=None
    )
    pace = serializers.FloatField(allow_null=True)
    days_left = serializers.IntegerField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField())


class Sheet(Guarded, APIView):
    """The daily spend sheet: every account on one day, yesterday unless told."""

    write_roles = ()

    @extend_schema(
        operation_id="spend_sheet",
        responses=SheetLineSerializer(many=True),
        parameters=[OpenApiParameter("day_to", OpenApiTypes.DATE)],
    )
    def get(self, request: Request) -> Response:
        asked = SpanSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        day = asked.validated_data.get("day_to") or timezone.localdate() - timedelta(days=1)
        return Response(SheetLineSerializer(spend_sheet.sheet(day).lines, many=True).data)


class WalletSerializer(serializers.Serializer[Any]):
    channel = serializers.IntegerField(source="channel.pk")
    unit = serializers.CharField()
    opening = serializers.DecimalField(max_digits=18, decimal_places=4)
    top_up = serializers.DecimalField(max_digits=18, decimal_places=4)
    bonus = serializers.DecimalField(max_digits=18, decimal_places=4)
    transfer_in = serializers.DecimalField(max_digits=18, decimal_places=4)
    cash_consumption = serializers.DecimalField(max_digits=18, decimal_places=4)
    bonus_consumption = serializers.DecimalField(max_digits=18, decimal_places=4)
    transfer_out = serializers.DecimalField(max_digits=18, decimal_places=4)
    refund = serializers.DecimalField(max_digits=18, decimal_places=4)
    adjustment = serializers.DecimalField(max_digits=18, decimal_places=4)
    closing = serializers.DecimalField(max_digits=18, decimal_places=4)
    told = serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True)
    told_on = serializers.DateField(allow_null=True)
    difference = serializers.DecimalField(max_digits=18, decimal_places=4, allow_null=True)


class Wallets(Guarded, APIView):
    """What is left in each account by our entries, and what the platform says."""

    write_roles = ()

    @extend_schema(
        operation_id="wallets_list",
        responses=WalletSerializer(many=True),
        parameters=[
            OpenApiParameter("day_to", OpenApiTypes.DATE),
            OpenApiParameter("channel", OpenApiTypes.INT),
        ],
    )
    def get(self, request: Request) -> Response:
        asked = SpanSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        last = asked.validated_data.get("day_to") or timezone.localdate()
        found = wallets.of_channels(last, asked.validated_data.get("channel"))
        return Response(WalletSerializer(found, many=True).data)


class WalletEntrySerializer(serializers.ModelSerializer[WalletEntry]):
    class Meta:
        model = WalletEntry
        fields = (
            "id",
            "channel",
            "day",
            "kind",
            "unit",
            "amount",
            "expires_on",
            "source",
            "source_key",
            "created_at",
        )


class WalletEntries(Guarded, generics.ListAPIView[WalletEntry]):
    """Movements of accounts."""

    serializer_class = WalletEntrySerializer
    queryset = WalletEntry.objects.all()
    filterset_fields = ("channel", "kind", "day")
    write_roles = ()
