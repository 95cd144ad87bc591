"""REST: KOL accounts, and their ranking."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import Role
from channels import kol
from channels.api.channels import Guarded
from channels.models import Channel, KolAccount

FIGURES = ("posts", "fee", "visits", "orders", "revenue", "share", "per_fee", "rank")
WRITERS = (Role.CHANNEL_ADMIN, Role.MARKETER)


class KolAccountSerializer(serializers.ModelSerializer[KolAccount]):
    class Meta:
        model = KolAccount
        fields = (
            "id",
            "channel",
            "name",
            "platform",
            "handle",
            "url",
            "followers",
            "fee",
            "note",
            "archived_at",
        )
        extra_kwargs = {"followers": {"min_value": 0}, "fee": {"min_value": 0}}  # noqa: RUF012

    def validate_channel(self, channel: Channel) -> Channel:
        known = self.instance
        if known is not None and known.channel_id != channel.pk and known.placements.exists():
            raise serializers.ValidationError(_("Its posts were paid for on its channel."))
        try:
            kol.check_channel(channel)
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.messages) from None
        return channel


class KolAccounts(Guarded, generics.ListCreateAPIView[KolAccount]):
    """Accounts that posts are bought of."""

    serializer_class = KolAccountSerializer
    queryset = KolAccount.objects.order_by("id")
    filterset_fields = ("channel", "platform")
    write_roles = WRITERS


class OneKolAccount(Guarded, generics.RetrieveUpdateAPIView[KolAccount]):
    """One account."""

    serializer_class = KolAccountSerializer
    queryset = KolAccount.objects.all()
    http_method_names = ("get", "patch", "head", "options")
    write_roles = WRITERS


class StandingSerializer(serializers.Serializer[Any]):
    account = serializers.IntegerField()
    name = serializers.CharField()
    followers = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField()
    posts = serializers.IntegerField()
    fee = serializers.DecimalField(max_digits=18, decimal_places=2)
    visits = serializers.IntegerField()
    orders = serializers.IntegerField()
    revenue = serializers.DecimalField(max_digits=18, decimal_places=4)
    share = serializers.FloatField(allow_null=True, help_text="Of the measure, over all accounts listed.")
    per_fee = serializers.DecimalField(
        max_digits=24, decimal_places=6, allow_null=True, help_text="The measure for one unit of fee."
    )
    rank = serializers.IntegerField(allow_null=True)


class AskedSerializer(serializers.Serializer[Any]):
    day_from = serializers.DateField(required=False)
    day_to = serializers.DateField(required=False)
    by = serializers.ChoiceField(choices=kol.MEASURES, default="visits")
    channel = serializers.IntegerField(required=False, default=None)
    campaign = serializers.IntegerField(required=False, default=None)


class KolRanking(Guarded, APIView):
    """Accounts by what they brought for their fees, best first; posts of the last year unless told."""

    write_roles = ()

    @extend_schema(
        operation_id="kol_ranking_list",
        responses=StandingSerializer(many=True),
        parameters=[
            OpenApiParameter("day_from", OpenApiTypes.DATE),
            OpenApiParameter("day_to", OpenApiTypes.DATE),
            OpenApiParameter("by", OpenApiTypes.STR, enum=kol.MEASURES),
            OpenApiParameter("channel", OpenApiTypes.INT),
            OpenApiParameter("campaign", OpenApiTypes.INT),
        ],
    )
    def get(self, request: Request) -> Response:
        asked = AskedSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        last = told.get("day_to") or timezone.localdate()
        first = told.get("day_from") or last - timedelta(days=365)
        rows = kol.ranking(first, last, told["by"], told["channel"], told["campaign"])
        return Response(
            StandingSerializer(
                [
                    {
                        **{name: getattr(row, name) for name in FIGURES},
                        "account": row.account.pk,
                        "name": row.account.name,
                        "followers": row.account.followers,
                        "currency": row.account.channel.currency,
                    }
                    for row in rows
                ],
                many=True,
            ).data
        )
