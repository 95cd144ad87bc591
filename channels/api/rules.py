"""REST: platform rules."""

from typing import Any

from django.utils import timezone
from rest_framework import generics, serializers

from channels import rule_rows
from channels.api.channels import Guarded
from channels.models import PlatformRule
from channels.platform_rules import KEYS, clean_value


class RuleSerializer(serializers.ModelSerializer[PlatformRule]):
    key = serializers.ChoiceField(choices=[(name, name) for name in KEYS])
    value = serializers.JSONField(
        help_text="Its shape follows the key: a number, a text, true, a list of words, hours."
    )

    class Meta:
        model = PlatformRule
        fields = (
            "id",
            "medium",
            "adapter",
            "channel",
            "country",
            "key",
            "value",
            "valid_from",
            "valid_to",
            "source",
            "source_date",
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        def told(name: str) -> Any:
            return attrs.get(name, getattr(self.instance, name, None))

        try:
            clean_value(told("key"), told("value"))
        except ValueError as error:
            raise serializers.ValidationError({"value": str(error)}) from None
        begins, ends = told("valid_from"), told("valid_to")
        if begins and ends and ends < begins:
            raise serializers.ValidationError({"valid_to": "It ends before it begins."})
        if told("channel") and told("channel").medium != told("medium"):
            raise serializers.ValidationError({"channel": "This channel is of another medium."})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> PlatformRule:
        return self.update(PlatformRule(), validated_data)

    def update(self, instance: PlatformRule, validated_data: dict[str, Any]) -> PlatformRule:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        rule_rows.save(instance, timezone.now())
        return instance


class Rules(Guarded, generics.ListCreateAPIView[PlatformRule]):
    """Dated rules of platforms and countries. A rule that changes gets a new row with a later date."""

    serializer_class = RuleSerializer
    queryset = PlatformRule.objects.all()
    filterset_fields = ("medium", "key", "country", "adapter", "channel")


class OneRule(Guarded, generics.RetrieveUpdateAPIView[PlatformRule]):
    """One row: corrected, or ended by ``valid_to``."""

    serializer_class = RuleSerializer
    queryset = PlatformRule.objects.all()
    http_method_names = ("get", "patch", "head", "options")
