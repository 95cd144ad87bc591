"""Calls of providers whose platforms limit them, and the contact policy's lock over quotas of platforms.

A claim reads what a platform lets a person get, and holds the policy meanwhile: a rule changes between claims.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

POLICY_LOCK = """
CREATE FUNCTION channels_lock_policy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7301441903);  -- the number in migration 0004 of campaigns
    RETURN NULL;
END $$;
CREATE TRIGGER rules_change_between_claims BEFORE INSERT OR UPDATE OR DELETE ON channels_platformrule
    FOR EACH STATEMENT EXECUTE FUNCTION channels_lock_policy();
"""
NO_POLICY_LOCK = """
DROP TRIGGER rules_change_between_claims ON channels_platformrule;
DROP FUNCTION channels_lock_policy();
"""


class Migration(migrations.Migration):
    dependencies = [("channels", "0010_the_spend_sheet_is_pushed_once_a_day")]

    operations = [
        migrations.CreateModel(
            name="ChannelCalls",
            fields=[
                (
                    "channel",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="calls",
                        serialize=False,
                        to="channels.channel",
                    ),
                ),
                ("day", models.DateField()),
                ("of_day", models.IntegerField(default=0)),
                (
                    "recent_at",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DateTimeField(), default=list, size=None
                    ),
                ),
                (
                    "recent_n",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), default=list, size=None
                    ),
                ),
            ],
        ),
        migrations.RunSQL(POLICY_LOCK, NO_POLICY_LOCK),
    ]
