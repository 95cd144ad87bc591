"""Ads of campaigns that were over before we paused any are left alone: their number may be another campaign's by now."""

from django.db import migrations

LEAVE = """
UPDATE channels_platformaudience a SET pause_wanted = true, pause_known = true
FROM campaigns_campaign c WHERE c.id = a.campaign_id AND c.state IN ('finished', 'reviewed')
"""


class Migration(migrations.Migration):
    dependencies = [
        ("campaigns", "0016_a_rule_that_comes_later_stops_a_channel"),
        ("channels", "0016_flights_stand_still"),
    ]

    operations = [migrations.RunSQL(LEAVE, migrations.RunSQL.noop, elidable=True)]
