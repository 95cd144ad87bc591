"""REST: the content library, offers and modes."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.models import Brand
from audiences.vocabulary import Medium
from campaigns import content, library, offers
from campaigns.api.campaigns import Conflict, Guarded
from campaigns.models import Message, MessageVariant, MessageVersion, Mode, Offer, OfferCode
from channels.models import Channel


class VariantSerializer(serializers.ModelSerializer[MessageVariant]):
    class Meta:
        model = MessageVariant
        fields = ("number", "name", "weight", "subject", "text", "html")
        read_only_fields = ("number",)


class MessageVersionSerializer(serializers.ModelSerializer[MessageVersion]):
    variants = VariantSerializer(many=True)

    class Meta:
        model = MessageVersion
        fields = ("id", "number", "template", "frozen_at", "created_at", "variants")
        read_only_fields = ("id", "number", "frozen_at", "created_at")


class MessageSerializer(serializers.ModelSerializer[Message]):
    """A message with its newest version."""

    brand = serializers.SlugRelatedField(slug_field="code", queryset=Brand.objects.all())
    medium = serializers.ChoiceField(
        choices=[(one.value, one.label) for one in Medium if one in content.WITH_WORDS]
    )
    newest = serializers.SerializerMethodField()

    class Meta:
        model = Message
        fields = ("id", "brand", "medium", "name", "archived_at", "created_at", "newest")
        read_only_fields = ("archived_at", "created_at")

    def get_newest(self, message: Message) -> dict[str, Any] | None:
        version = content.newest(message)
        return dict(MessageVersionSerializer(version).data) if version else None

    def create(self, validated_data: dict[str, Any]) -> Message:
        user = self.context["request"].user
        return library.create(
            validated_data["brand"], validated_data["medium"], validated_data["name"], user
        ).message

    def update(self, instance: Message, validated_data: dict[str, Any]) -> Message:
        instance.name = validated_data.get("name", instance.name)
        instance.save(update_fields=["name"])
        return instance


class Messages(Guarded, generics.ListCreateAPIView[Message]):
    """The content library."""

    serializer_class = MessageSerializer
    queryset = Message.objects.select_related("brand").prefetch_related("versions__variants")
    filterset_fields = ("medium", "name")


class OneMessage(Guarded, generics.RetrieveUpdateAPIView[Message]):
    """One message; its name may change, its medium and brand stay."""

    serializer_class = MessageSerializer
    queryset = Message.objects.select_related("brand")
    http_method_names = ("get", "patch", "head", "options")


class MessageVersions(Guarded, generics.ListAPIView[MessageVersion]):
    """Versions of a message, newest first."""

    serializer_class = MessageVersionSerializer

    def get_queryset(self) -> QuerySet[MessageVersion]:
        if getattr(self, "swagger_fake_view", False):
            return MessageVersion.objects.none()
        message = get_object_or_404(Message, pk=self.kwargs["pk"])
        return MessageVersion.objects.filter(message=message).prefetch_related("variants")

    @extend_schema(
        operation_id="messages_versions_create",
        request=MessageVersionSerializer,
        responses={201: MessageVersionSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Write the words: into the newest version if nobody approved it yet, else into a new one."""
        message = get_object_or_404(Message, pk=pk)
        asked = MessageVersionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        variants = asked.validated_data["variants"]
        if not variants:
            raise serializers.ValidationError({"variants": _("A message needs at least one variant.")})
        with transaction.atomic():
            version = library.new_version(message, request.user)  # type: ignore[arg-type]
            try:
                library.replace(version.pk, asked.validated_data.get("template", ""), variants)
            except library.Frozen as error:  # approved in this very moment
                raise Conflict({"detail": str(error)}) from error
        version.refresh_from_db()
        return Response(MessageVersionSerializer(version).data, status=status.HTTP_201_CREATED)


class ProblemSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    where = serializers.CharField()
    variant = serializers.CharField()
    error = serializers.BooleanField()
    rule = serializers.CharField()
    rule_source = serializers.CharField(
        source="source", help_text="Who says so, where a platform's rule is broken."
    )


class MessageCheck(Guarded, APIView):
    """What stands against the newest version on a channel: fields, platform rules, lengths."""

    @extend_schema(operation_id="messages_check", responses=ProblemSerializer(many=True))
    def get(self, request: Request, pk: int, channel: int) -> Response:
        message = get_object_or_404(Message, pk=pk)
        found = get_object_or_404(Channel.objects.select_related("brand"), pk=channel, medium=message.medium)
        version = content.newest(message)
        problems = content.check(version, found, timezone.localdate()) if version else []
        return Response(ProblemSerializer(problems, many=True).data)


class ModeSerializer(serializers.ModelSerializer[Mode]):
    class Meta:
        model = Mode
        fields = ("id", "name", "description")


class Modes(Guarded, generics.ListCreateAPIView[Mode]):
    """Promotion mechanisms that compete with one another."""

    serializer_class = ModeSerializer
    queryset = Mode.objects.all()


class OneMode(Guarded, generics.RetrieveUpdateAPIView[Mode]):
    serializer_class = ModeSerializer
    queryset = Mode.objects.all()
    http_method_names = ("get", "patch", "head", "options")


class OfferSerializer(serializers.ModelSerializer[Offer]):
    brand = serializers.SlugRelatedField(slug_field="code", queryset=Brand.objects.all())

    class Meta:
        model = Offer
        fields = (
            "id",
            "brand",
            "mode",
            "name",
            "kind",
            "value",
            "codes",
            "code",
            "terms",
            "stock",
            "cost",
            "funder",
            "valid_from",
            "valid_to",
            "repeatable",
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        begins = attrs.get("valid_from", getattr(self.instance, "valid_from", None))
        ends = attrs.get("valid_to", getattr(self.instance, "valid_to", None))
        if begins and ends and ends <= begins:
            raise serializers.ValidationError({"valid_to": _("It must end after it starts.")})
        if self.instance is not None:
            changed = [name for name, value in attrs.items() if getattr(self.instance, name) != value]
            problem = offers.refusal(self.instance, changed)
            if problem:
                raise serializers.ValidationError({"detail": problem})
        return attrs


class Offers(Guarded, generics.ListCreateAPIView[Offer]):
    """Terms, stock, validity, funder and codes; one person gets an offer once."""

    serializer_class = OfferSerializer
    queryset = Offer.objects.select_related("brand", "mode")
    filterset_fields = ("mode", "name")


class OneOffer(Guarded, generics.RetrieveUpdateAPIView[Offer]):
    serializer_class = OfferSerializer
    queryset = Offer.objects.select_related("brand", "mode")
    http_method_names = ("get", "patch", "head", "options")


class CodesSerializer(serializers.Serializer[Any]):
    """Codes that the shop knows, or how many to make."""

    codes = serializers.ListField(child=serializers.CharField(max_length=80), required=False, default=list)
    make = serializers.IntegerField(min_value=1, max_value=offers.MOST_AT_ONCE, required=False)
    prefix = serializers.CharField(max_length=20, required=False, allow_blank=True, default="")


class OfferCodeSerializer(serializers.ModelSerializer[OfferCode]):
    class Meta:
        model = OfferCode
        fields = ("id", "code", "taken_at")


class OfferCodes(Guarded, generics.ListAPIView[OfferCode]):
    """The codes of an offer that gives each person one of their own."""

    serializer_class = OfferCodeSerializer
    queryset = OfferCode.objects.none()

    def get_queryset(self) -> QuerySet[OfferCode]:
        return OfferCode.objects.filter(offer_id=self.kwargs.get("pk", 0)).order_by("-id")

    @extend_schema(
        operation_id="offers_codes_create",
        request=CodesSerializer,
        responses={201: inline_serializer("CodesAdded", {"added": serializers.IntegerField()})},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Add codes; those that are there already are passed over."""
        found = get_object_or_404(Offer, pk=pk)
        asked = CodesSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        entered = asked.validated_data
        try:
            added = offers.add_codes(found, entered["codes"])
            if entered.get("make"):
                added += offers.make_codes(found, entered["make"], entered["prefix"])
        except offers.OfferError as error:
            raise serializers.ValidationError({"detail": str(error)}) from error
        return Response({"added": added}, status=status.HTTP_201_CREATED)
