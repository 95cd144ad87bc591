"""What dispatch needs of the database.

- one row a claim, one row a clock;
- a claim holds a shared lock while it runs, a change of the contact policy an exclusive one: so every claim
  works by one policy, and all that begin after a change know it;
- contact states leave room on their pages, since every contact rewrites one in place.
"""

import django.contrib.postgres.fields
from django.db import migrations, models

POLICY_LOCK = """
CREATE FUNCTION campaigns_lock_policy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7301441903);
    RETURN NULL;
END $$;
CREATE TRIGGER rules_change_between_claims BEFORE INSERT OR UPDATE OR DELETE ON campaigns_pressurerule
    FOR EACH STATEMENT EXECUTE FUNCTION campaigns_lock_policy();
"""
NO_POLICY_LOCK = """
DROP TRIGGER rules_change_between_claims ON campaigns_pressurerule;
DROP FUNCTION campaigns_lock_policy();
"""

ROOM = "ALTER TABLE audiences_contactstate SET (fillfactor = 80);"
NO_ROOM = "ALTER TABLE audiences_contactstate RESET (fillfactor);"


class Migration(migrations.Migration):
    dependencies = [
        ("campaigns", "0003_a_campaign_has_one_open_version_and_a_plan_knows_its_definition"),
        ("audiences", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Clock",
            fields=[
                ("name", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("value", models.BigIntegerField(default=0)),
            ],
            options={"db_table": "campaigns_clock"},
        ),
        migrations.CreateModel(
            name="DispatchClaim",
            fields=[
                ("token", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("channel_id", models.IntegerField()),
                ("claimed_at", models.DateTimeField()),
                ("lease_until", models.DateTimeField(db_index=True)),
                ("size", models.IntegerField(default=0)),
                (
                    "called",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
            ],
            options={"db_table": "campaigns_dispatch_claim"},
        ),
        migrations.RunSQL(POLICY_LOCK, NO_POLICY_LOCK),
        migrations.RunSQL(ROOM, NO_ROOM),
    ]
