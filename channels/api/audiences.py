"""REST: audiences on ad platforms."""

from typing import Any

from rest_framework import generics, serializers

from channels import flight_pauses, flights
from channels.api.channels import Guarded
from channels.models import PlatformAudience
from channels.queries import audience_sync as queries


class PlatformAudienceSerializer(serializers.ModelSerializer[PlatformAudience]):
    wanted_flight = serializers.DictField(read_only=True)
    known_flight = serializers.DictField(read_only=True)
    cap_held = serializers.SerializerMethodField(
        help_text="Whether the platform holds the wanted frequency cap; null where none is wanted or nothing is known."
    )

    ads = serializers.SerializerMethodField(
        help_text="While its campaign stands still or is over: paused, pausing, failing, by_hand or nothing; resuming "
        "when it goes on; empty while the campaign runs."
    )

    def get_ads(self, audience: PlatformAudience) -> str:
        standing = flight_pauses.told(audience)
        return str(standing.standing) if standing else ""

    def get_cap_held(self, audience: PlatformAudience) -> bool | None:
        if not audience.wanted_flight.get("cap_exposures") or not audience.known_flight:
            return None
        return flights.unheld_cap(audience) is None

    class Meta:
        model = PlatformAudience
        fields = (
            "id",
            "channel",
            "campaign_id",
            "name",
            "external_id",
            "flight_reference",
            "wanted_flight",
            "known_flight",
            "cap_held",
            "ads",
            "paused_by_us_at",
            "pause_error",
            "platform_size",
            "publish_after",
            "last_synced_at",
            "last_error",
        )


class OnePlatformAudienceSerializer(PlatformAudienceSerializer):
    wanted = serializers.IntegerField(read_only=True)
    held = serializers.IntegerField(read_only=True)
    to_add = serializers.IntegerField(read_only=True)
    to_remove = serializers.IntegerField(read_only=True)
    troubled = serializers.IntegerField(read_only=True)

    class Meta(PlatformAudienceSerializer.Meta):
        fields = (
            *PlatformAudienceSerializer.Meta.fields,
            "wanted",
            "held",
            "to_add",
            "to_remove",
            "troubled",
        )  # type: ignore[assignment]

    def to_representation(self, instance: PlatformAudience) -> dict[str, Any]:
        names = ("wanted", "held", "to_add", "to_remove", "troubled")
        for name, n in zip(names, queries.counts(instance.pk), strict=True):
            setattr(instance, name, n)
        told: dict[str, Any] = super().to_representation(instance)
        return told


class PlatformAudiences(Guarded, generics.ListAPIView[PlatformAudience]):
    """Audiences that platforms hold for us."""

    serializer_class = PlatformAudienceSerializer
    queryset = PlatformAudience.objects.select_related("channel")
    filterset_fields = ("channel", "campaign_id")
    write_roles = ()


class OnePlatformAudience(Guarded, generics.RetrieveAPIView[PlatformAudience]):
    """One audience, with how far wanted and held agree."""

    serializer_class = OnePlatformAudienceSerializer
    queryset = PlatformAudience.objects.select_related("channel")
    write_roles = ()
