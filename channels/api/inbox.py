"""REST: the inbox."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from channels import inbox
from channels.api.channels import Guarded
from channels.models import InboxEvent


class EventSerializer(serializers.ModelSerializer[InboxEvent]):
    detail = serializers.DictField(read_only=True)

    class Meta:
        model = InboxEvent
        fields = (
            "id",
            "channel",
            "dedupe_key",
            "kind",
            "outcome",
            "response",
            "reference",
            "campaign_id",
            "touch_id",
            "occurred_at",
            "received_at",
            "machine",
            "value",
            "currency",
            "code",
            "detail",
            "state",
            "error",
            "drained_at",
        )


class Events(Guarded, generics.ListAPIView[InboxEvent]):
    """What providers told, newest first."""

    serializer_class = EventSerializer
    queryset = InboxEvent.objects.all()
    filterset_fields = ("channel", "state", "kind", "reference")


class OneEvent(Guarded, generics.RetrieveAPIView[InboxEvent]):
    """One event with everything that was told."""

    serializer_class = EventSerializer
    queryset = InboxEvent.objects.all()


class ReplaySerializer(serializers.Serializer[Any]):
    ids = serializers.ListField(child=serializers.IntegerField(), max_length=1000, write_only=True)
    replayed = serializers.IntegerField(read_only=True)


class Replay(Guarded, APIView):
    """Give events that were set aside another chance."""

    @extend_schema(operation_id="inbox_events_replay", request=ReplaySerializer, responses=ReplaySerializer)
    def post(self, request: Request) -> Response:
        asked = ReplaySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response({"replayed": inbox.replay(asked.validated_data["ids"], timezone.now())})
