"""Rules of search platforms under the names their adapters have, smallest audiences, and the zones of US states."""

from datetime import date

from django.db import migrations

BASE, SEEN = date(2020, 1, 1), date(2026, 11, 27)
ZONES = {
    "Florida": ["America/New_York", "America/Chicago"],
    "Oklahoma": ["America/Chicago", "America/Denver"],
    "Maryland": ["America/New_York"],
    "Washington": ["America/Los_Angeles"],
}
GOOGLE = "Google Ads Help, size of audience segments: 100 active users on every network"
MICROSOFT = "Microsoft Advertising, customer match: 300 matched people"
DEFAULT = "Default of this product, as for text messages"
# medium, adapter, key, value, valid from, source
RULES = (
    ("search", "google_ads", "smallest_audience", 100, date(2024, 12, 17), GOOGLE),
    ("video", "google_ads", "smallest_audience", 100, date(2024, 12, 17), GOOGLE),
    (
        "video",
        "google_ads",
        "audience_members_a_call",
        10000,
        BASE,
        "Google Data Manager API, audienceMembers:ingest",
    ),
    ("search", "microsoft_ads", "smallest_audience", 300, BASE, MICROSOFT),
    ("official_account", "", "hours", {"from": "08:00", "to": "21:00"}, BASE, DEFAULT),
)


def add(apps, schema_editor):
    rule = apps.get_model("channels", "PlatformRule")
    rule.objects.filter(medium="search", adapter="google").update(adapter="google_ads")
    for row in rule.objects.filter(medium="sms", country="US", key="hours_by_region"):
        row.value = {
            region: {
                **hours,
                **({"zones": ZONES[region]} if region in ZONES and "zones" not in hours else {}),
            }
            for region, hours in row.value.items()
        }
        row.save(update_fields=["value"])
    rule.objects.bulk_create(
        rule(
            medium=medium,
            adapter=adapter,
            country="",
            key=key,
            value=value,
            valid_from=valid_from,
            source=source,
            source_date=SEEN,
        )
        for medium, adapter, key, value, valid_from, source in RULES
    )


def take_out(apps, schema_editor):
    rule = apps.get_model("channels", "PlatformRule")
    for medium, adapter, key, _value, valid_from, source in RULES:
        rule.objects.filter(
            medium=medium,
            adapter=adapter,
            country="",
            key=key,
            valid_from=valid_from,
            source=source,
            channel=None,
        ).delete()
    rule.objects.filter(medium="search", adapter="google_ads").update(adapter="google")
    for row in rule.objects.filter(medium="sms", country="US", key="hours_by_region"):
        row.value = {
            region: {name: value for name, value in hours.items() if name != "zones"}
            for region, hours in row.value.items()
        }
        row.save(update_fields=["value"])


class Migration(migrations.Migration):
    dependencies = [("channels", "0008_template_messages_carry_no_marketing")]
    operations = [migrations.RunPython(add, take_out)]
