"""REST: posts of KOL accounts in campaigns."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import Role
from campaigns import kol as rules
from campaigns.api.campaigns import Guarded
from campaigns.models import Campaign
from channels import kol
from channels.models import Employee, KolAccount, KolPlacement

WRITERS = (Role.MARKETER, Role.CHANNEL_ADMIN)


class KolPostSerializer(serializers.ModelSerializer[KolPlacement]):
    link = serializers.SerializerMethodField(help_text="What the account puts into its post.")

    def get_link(self, post: KolPlacement) -> str:
        return kol.tracked_url(post)

    class Meta:
        model = KolPlacement
        fields = (
            "id",
            "account",
            "campaign_id",
            "task_id",
            "day",
            "fee",
            "code",
            "brief",
            "link",
            "state",
            "posted_on",
            "post_url",
        )


class NewKolPostSerializer(serializers.Serializer[Any]):
    campaign = serializers.PrimaryKeyRelatedField(queryset=Campaign.objects.all())
    account = serializers.PrimaryKeyRelatedField(queryset=KolAccount.objects.select_related("channel"))
    day = serializers.DateField()
    fee = serializers.DecimalField(max_digits=14, decimal_places=2, min_value=0)
    url = serializers.URLField(max_length=1500, help_text="Where the tracked link leads.")
    code = serializers.CharField(max_length=80, default="", allow_blank=True)
    brief = serializers.CharField(max_length=4000, default="", allow_blank=True)
    employee = serializers.PrimaryKeyRelatedField(
        queryset=Employee.objects.filter(left_at=None),
        default=None,
        allow_null=True,
        help_text="Whose task it is.",
    )


class OutSerializer(serializers.Serializer[Any]):
    posted_on = serializers.DateField(required=False, help_text="Today, unless told.")
    post_url = serializers.URLField(max_length=500, default="", allow_blank=True)


def _refused(error: DjangoValidationError) -> serializers.ValidationError:
    return serializers.ValidationError(
        error.message_dict if hasattr(error, "error_dict") else {"non_field_errors": error.messages}
    )


class KolPosts(Guarded, generics.ListAPIView[KolPlacement]):
    """Posts bought for campaigns; a new one comes with its tracked link and its task."""

    serializer_class = KolPostSerializer
    queryset = KolPlacement.objects.select_related("account__channel").order_by("id")
    filterset_fields = ("campaign_id", "account", "state")
    write_roles = WRITERS

    @extend_schema(request=NewKolPostSerializer, responses={201: KolPostSerializer})
    def post(self, request: Request) -> Response:
        given = NewKolPostSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            made = rules.place(**given.validated_data)
        except DjangoValidationError as error:
            raise _refused(error) from None
        return Response(KolPostSerializer(made).data, status=status.HTTP_201_CREATED)


class KolPostOut(Guarded, APIView):
    """The post is out: its fee is spend of that day. Saying so again changes nothing."""

    write_roles = WRITERS

    @extend_schema(request=OutSerializer, responses=KolPostSerializer)
    def post(self, request: Request, pk: int) -> Response:
        given = OutSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        found = get_object_or_404(KolPlacement, pk=pk)
        on = given.validated_data.get("posted_on") or timezone.localdate()
        try:
            found = rules.posted(found, on, timezone.now(), given.validated_data["post_url"])
        except DjangoValidationError as error:
            raise _refused(error) from None
        return Response(KolPostSerializer(found).data)


class KolPostCancel(Guarded, APIView):
    """The post does not come; a fee already counted is taken back."""

    write_roles = WRITERS

    @extend_schema(request=None, responses=KolPostSerializer)
    def post(self, request: Request, pk: int) -> Response:
        found = rules.cancel(get_object_or_404(KolPlacement, pk=pk), timezone.now())
        return Response(KolPostSerializer(found).data)
