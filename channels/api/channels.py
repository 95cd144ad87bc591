"""REST: accounts. Credentials go in and never come out."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import ANYBODY, Role, RolePermission
from audiences.models import Brand
from channels import accounts, health, states
from channels.adapters import adapter_class, all_adapters
from channels.models import Channel, ChannelCapacity, ChannelFetch


class Guarded:
    """Everybody with a role reads, channel admins write."""

    permission_classes: Any = (RolePermission,)
    read_roles: tuple[str, ...] = ANYBODY
    write_roles: tuple[str, ...] = (Role.CHANNEL_ADMIN,)


class SettingSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    help = serializers.CharField()
    kind = serializers.CharField()
    secret = serializers.BooleanField(help_text="Goes into credentials instead of settings.")
    required = serializers.BooleanField()  # type: ignore[assignment]
    choices = serializers.ListField(child=serializers.CharField())


class AdapterSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    media = serializers.ListField(child=serializers.CharField())
    verbs = serializers.ListField(child=serializers.CharField())
    settings = SettingSerializer(many=True)


class Adapters(Guarded, APIView):
    """What can be connected, and what each adapter wants to know."""

    @extend_schema(operation_id="adapters_list", responses=AdapterSerializer(many=True))
    def get(self, request: Request) -> Response:
        told = [
            {
                "name": name,
                "label": str(adapter.label),
                "media": list(adapter.media),
                "verbs": sorted(adapter.verbs()),
                "settings": [
                    {
                        "name": one.name,
                        "label": str(one.label),
                        "help": str(one.help),
                        "kind": one.kind,
                        "secret": one.secret,
                        "required": one.required,
                        "choices": [str(value) for value, _label in one.choices],
                    }
                    for one in adapter.settings
                ],
            }
            for name, adapter in all_adapters().items()
        ]
        return Response(AdapterSerializer(told, many=True).data)


class ChannelSerializer(serializers.ModelSerializer[Channel]):
    brand = serializers.SlugRelatedField(slug_field="code", queryset=Brand.objects.all())
    settings = serializers.DictField(required=False, help_text="What the adapter declares; see /adapters/.")
    credentials = serializers.DictField(
        required=False,
        write_only=True,
        help_text="The adapter's secrets. Written, never read; left out they stay.",
    )

    class Meta:
        model = Channel
        fields = (
            "id",
            "brand",
            "name",
            "medium",
            "adapter",
            "domain",
            "observability",
            "guarantee",
            "state",
            "state_reason",
            "settings",
            "credentials",
            "currency",
            "price_model",
            "unit_price",
            "rate_per_second",
            "daily_capacity",
            "last_checked_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = (
            "domain",
            "observability",
            "guarantee",
            "state",
            "state_reason",
            "last_checked_at",
            "created_at",
            "updated_at",
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        known = self.instance if isinstance(self.instance, Channel) else None
        if known:
            for fixed in ("medium", "adapter"):
                if attrs.get(fixed, getattr(known, fixed)) != getattr(known, fixed):
                    raise serializers.ValidationError(
                        {fixed: _("This stays as it was: connect another channel.")}
                    )
        try:
            adapter = adapter_class(known.adapter if known else attrs["adapter"])
        except LookupError as error:
            raise serializers.ValidationError({"adapter": str(error)}) from None
        given = (known.settings if known else {}) | attrs.pop("settings", {}) | attrs.pop("credentials", {})
        try:
            values = accounts.clean_values(adapter, given, known.credentials if known else None)
        except DjangoValidationError as error:
            raise serializers.ValidationError({"settings": error.message_dict}) from None
        self._kept = values.kept
        return attrs | {"settings": values.settings, "credentials": values.credentials}

    def create(self, validated_data: dict[str, Any]) -> Channel:
        return self._save(Channel(**validated_data))

    def update(self, instance: Channel, validated_data: dict[str, Any]) -> Channel:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return self._save(instance)

    def _save(self, channel: Channel) -> Channel:
        try:
            return accounts.save_channel(channel, self._kept)
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.message_dict) from None


class Channels(Guarded, generics.ListCreateAPIView[Channel]):
    """Accounts."""

    serializer_class = ChannelSerializer
    queryset = Channel.objects.select_related("brand")
    filterset_fields = ("medium", "state", "adapter")


class OneChannel(Guarded, generics.RetrieveUpdateAPIView[Channel]):
    """One account. There is no deletion: archive it by its state."""

    serializer_class = ChannelSerializer
    queryset = Channel.objects.select_related("brand")
    http_method_names = ("get", "patch", "head", "options")


class CheckedSerializer(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    text = serializers.CharField()
    facts = serializers.DictField(child=serializers.CharField())


class Check(Guarded, APIView):
    """Test the connection."""

    @extend_schema(operation_id="channels_check", request=None, responses=CheckedSerializer)
    def post(self, request: Request, pk: int) -> Response:
        channel = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
        checked = accounts.check_connection(channel, timezone.now())
        return Response({"ok": checked.ok, "text": str(checked.text), "facts": dict(checked.facts)})


class StateSerializer(serializers.Serializer[Any]):
    action = serializers.ChoiceField(choices=list(states.ACTIONS), write_only=True)
    state = serializers.CharField(read_only=True)


class State(Guarded, APIView):
    """Pause, resume, archive, restore."""

    @extend_schema(operation_id="channels_state", request=StateSerializer, responses=StateSerializer)
    def post(self, request: Request, pk: int) -> Response:
        asked = StateSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        channel = get_object_or_404(Channel, pk=pk)
        if not states.ACTIONS[asked.validated_data["action"]](channel):
            channel.refresh_from_db()
            detail = _("It is %(state)s: that cannot be done now.") % {"state": channel.get_state_display()}
            return Response({"detail": detail}, status=409)
        return Response({"state": channel.state})


class MissedSerializer(serializers.Serializer[Any]):
    first = serializers.DateField()
    last = serializers.DateField()
    why = serializers.CharField(help_text="Empty: further back than the platform gives.")


class FetchSerializer(serializers.Serializer[Any]):
    """How one kind of fetching from the provider fares."""

    kind = serializers.ChoiceField(choices=ChannelFetch.Kind.choices)
    succeeded_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(
        allow_null=True, help_text="Null: the last attempt did not fail."
    )
    error = serializers.CharField(help_text="Of the last failure, in the provider's words.")
    missed = MissedSerializer(many=True)


class HealthSerializer(serializers.Serializer[Any]):
    """Of the last 24 hours."""

    accepted = serializers.IntegerField()
    held = serializers.IntegerField()
    refused = serializers.IntegerField()
    throttled = serializers.IntegerField()
    unknown = serializers.IntegerField()
    bad_signatures = serializers.IntegerField()
    last_event = serializers.DateTimeField(allow_null=True)
    waiting = serializers.IntegerField(help_text="Events in the inbox, not drained yet.")
    set_aside = serializers.IntegerField()
    messages_due = serializers.IntegerField(help_text="Due and not handed over yet.")
    messages_due_since = serializers.DateTimeField(allow_null=True)
    to_add = serializers.IntegerField(help_text="People the platform's audiences do not hold yet.")
    to_take_out = serializers.IntegerField(help_text="People the platform's audiences hold and must not.")
    to_take_out_since = serializers.DateTimeField(allow_null=True)
    fetches = FetchSerializer(many=True)
    troubles = serializers.ListField(child=serializers.CharField())
    causes = serializers.DictField(child=serializers.IntegerField())


def _fetched(one: health.Fetched) -> dict[str, Any]:
    row = one.row or ChannelFetch(kind=one.kind)
    names = ("succeeded_at", "failed_at", "failing_since", "error")
    return {name: getattr(row, name) for name in names} | {
        "kind": one.kind,
        "missed": [{"first": span.first, "last": span.last, "why": span.why} for span in one.missed],
    }


class HealthView(Guarded, APIView):
    """How a channel fares."""

    @extend_schema(operation_id="channels_health", responses=HealthSerializer)
    def get(self, request: Request, pk: int) -> Response:
        channel, now = get_object_or_404(Channel, pk=pk), timezone.now()
        (found,) = health.of_channels([channel], now)
        queues = health.queues(found, now)
        names = (
            "accepted",
            "held",
            "refused",
            "throttled",
            "unknown",
            "bad_signatures",
            "last_event",
            "waiting",
            "set_aside",
            "to_take_out",
            "to_take_out_since",
            "troubles",
        )
        told = {name: getattr(found, name) for name in names} | {
            "causes": dict(health.last_day(channel, now).causes),
            "messages_due": queues.messages[0],
            "messages_due_since": queues.messages[1],
            "to_add": queues.to_add[0],
            "fetches": [_fetched(one) for one in health.fetches(channel)],
        }
        return Response(HealthSerializer(told).data)


class CapacitySerializer(serializers.ModelSerializer[ChannelCapacity]):
    class Meta:
        model = ChannelCapacity
        fields = ("day", "messages")
        extra_kwargs = {"messages": {"min_value": 0}}  # noqa: RUF012


class Capacities(Guarded, generics.ListCreateAPIView[ChannelCapacity]):
    """Days on which a channel takes another number of messages; the same day again replaces it."""

    serializer_class = CapacitySerializer

    def get_queryset(self) -> QuerySet[ChannelCapacity]:
        if getattr(self, "swagger_fake_view", False):
            return ChannelCapacity.objects.none()
        return ChannelCapacity.objects.filter(channel_id=self.kwargs["pk"])

    def perform_create(self, serializer: Any) -> None:
        channel = get_object_or_404(Channel, pk=self.kwargs["pk"])
        serializer.instance, _made = ChannelCapacity.objects.update_or_create(
            channel=channel,
            day=serializer.validated_data["day"],
            defaults={"messages": serializer.validated_data["messages"]},
        )
