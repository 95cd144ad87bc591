import django.core.validators
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

# Definitions of versions made before say what they did: nothing was kept.
TELL = """
UPDATE campaigns_campaignversion SET definition = definition || '{"joiner_share": "0.0000"}'::jsonb
WHERE NOT definition ? 'joiner_share'
"""
FORGET = "UPDATE campaigns_campaignversion SET definition = definition - 'joiner_share'"


class Migration(migrations.Migration):
    dependencies = [
        ("audiences", "0005_an_identity_is_found_by_its_value"),
        ("campaigns", "0006_a_day_is_counted_once"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="campaign",
            name="insert_insert",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="campaign",
            name="update_update",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="campaign",
            name="delete_delete",
        ),
        migrations.AddField(
            model_name="campaign",
            name="joiner_share",
            field=models.DecimalField(
                decimal_places=4,
                default=0,
                help_text="Share of each budget the first plan leaves to those who enter the segment later",
                max_digits=5,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(0.9),
                ],
                verbose_name="kept for late joiners",
            ),
        ),
        migrations.AddField(
            model_name="campaignevent",
            name="joiner_share",
            field=models.DecimalField(
                decimal_places=4,
                default=0,
                help_text="Share of each budget the first plan leaves to those who enter the segment later",
                max_digits=5,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(0.9),
                ],
                verbose_name="kept for late joiners",
            ),
        ),
        migrations.AddField(
            model_name="plan",
            name="before",
            field=models.JSONField(blank=True, default=dict),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="campaign",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "campaigns_campaignevent" ("attribution_days", "brand_id", "budget", "conversion_value", "created_at", "created_by_id", "currency", "ends_at", "exit_on", "finished_at", "goal", "holdout_share", "id", "import_batch_id", "joiner_share", "kind", "margin_rate", "name", "number", "objective", "person_cap", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "release_plan_id", "released_at", "revenue_basis", "review", "seed", "segment_id", "silence_hours", "silent_touches", "starts_at", "state", "state_reason", "submitted_at", "submitted_by_id", "version", "zone") VALUES (NEW."attribution_days", NEW."brand_id", NEW."budget", NEW."conversion_value", NEW."created_at", NEW."created_by_id", NEW."currency", NEW."ends_at", NEW."exit_on", NEW."finished_at", NEW."goal", NEW."holdout_share", NEW."id", NEW."import_batch_id", NEW."joiner_share", NEW."kind", NEW."margin_rate", NEW."name", NEW."number", NEW."objective", NEW."person_cap", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."priority", NEW."release_plan_id", NEW."released_at", NEW."revenue_basis", NEW."review", NEW."seed", NEW."segment_id", NEW."silence_hours", NEW."silent_touches", NEW."starts_at", NEW."state", NEW."state_reason", NEW."submitted_at", NEW."submitted_by_id", NEW."version", NEW."zone"); RETURN NULL;',
                    hash="687e3f89ddb1abeeaac1aab29f12bb4fc2a4464a",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_5522d",
                    table="campaigns_campaign",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="campaign",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."attribution_days" IS DISTINCT FROM (NEW."attribution_days") OR OLD."brand_id" IS DISTINCT FROM (NEW."brand_id") OR OLD."budget" IS DISTINCT FROM (NEW."budget") OR OLD."conversion_value" IS DISTINCT FROM (NEW."conversion_value") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."created_by_id" IS DISTINCT FROM (NEW."created_by_id") OR OLD."currency" IS DISTINCT FROM (NEW."currency") OR OLD."ends_at" IS DISTINCT FROM (NEW."ends_at") OR OLD."exit_on" IS DISTINCT FROM (NEW."exit_on") OR OLD."finished_at" IS DISTINCT FROM (NEW."finished_at") OR OLD."goal" IS DISTINCT FROM (NEW."goal") OR OLD."holdout_share" IS DISTINCT FROM (NEW."holdout_share") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."import_batch_id" IS DISTINCT FROM (NEW."import_batch_id") OR OLD."joiner_share" IS DISTINCT FROM (NEW."joiner_share") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."margin_rate" IS DISTINCT FROM (NEW."margin_rate") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."number" IS DISTINCT FROM (NEW."number") OR OLD."objective" IS DISTINCT FROM (NEW."objective") OR OLD."person_cap" IS DISTINCT FROM (NEW."person_cap") OR OLD."priority" IS DISTINCT FROM (NEW."priority") OR OLD."release_plan_id" IS DISTINCT FROM (NEW."release_plan_id") OR OLD."released_at" IS DISTINCT FROM (NEW."released_at") OR OLD."revenue_basis" IS DISTINCT FROM (NEW."revenue_basis") OR OLD."review" IS DISTINCT FROM (NEW."review") OR OLD."seed" IS DISTINCT FROM (NEW."seed") OR OLD."segment_id" IS DISTINCT FROM (NEW."segment_id") OR OLD."silence_hours" IS DISTINCT FROM (NEW."silence_hours") OR OLD."silent_touches" IS DISTINCT FROM (NEW."silent_touches") OR OLD."starts_at" IS DISTINCT FROM (NEW."starts_at") OR OLD."state" IS DISTINCT FROM (NEW."state") OR OLD."state_reason" IS DISTINCT FROM (NEW."state_reason") OR OLD."submitted_at" IS DISTINCT FROM (NEW."submitted_at") OR OLD."submitted_by_id" IS DISTINCT FROM (NEW."submitted_by_id") OR OLD."version" IS DISTINCT FROM (NEW."version") OR OLD."zone" IS DISTINCT FROM (NEW."zone"))',
                    func='INSERT INTO "campaigns_campaignevent" ("attribution_days", "brand_id", "budget", "conversion_value", "created_at", "created_by_id", "currency", "ends_at", "exit_on", "finished_at", "goal", "holdout_share", "id", "import_batch_id", "joiner_share", "kind", "margin_rate", "name", "number", "objective", "person_cap", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "release_plan_id", "released_at", "revenue_basis", "review", "seed", "segment_id", "silence_hours", "silent_touches", "starts_at", "state", "state_reason", "submitted_at", "submitted_by_id", "version", "zone") VALUES (NEW."attribution_days", NEW."brand_id", NEW."budget", NEW."conversion_value", NEW."created_at", NEW."created_by_id", NEW."currency", NEW."ends_at", NEW."exit_on", NEW."finished_at", NEW."goal", NEW."holdout_share", NEW."id", NEW."import_batch_id", NEW."joiner_share", NEW."kind", NEW."margin_rate", NEW."name", NEW."number", NEW."objective", NEW."person_cap", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."priority", NEW."release_plan_id", NEW."released_at", NEW."revenue_basis", NEW."review", NEW."seed", NEW."segment_id", NEW."silence_hours", NEW."silent_touches", NEW."starts_at", NEW."state", NEW."state_reason", NEW."submitted_at", NEW."submitted_by_id", NEW."version", NEW."zone"); RETURN NULL;',
                    hash="ee886d331dfbdbd7867944c39bccf80fe3a72779",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_f2afa",
                    table="campaigns_campaign",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="campaign",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "campaigns_campaignevent" ("attribution_days", "brand_id", "budget", "conversion_value", "created_at", "created_by_id", "currency", "ends_at", "exit_on", "finished_at", "goal", "holdout_share", "id", "import_batch_id", "joiner_share", "kind", "margin_rate", "name", "number", "objective", "person_cap", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "release_plan_id", "released_at", "revenue_basis", "review", "seed", "segment_id", "silence_hours", "silent_touches", "starts_at", "state", "state_reason", "submitted_at", "submitted_by_id", "version", "zone") VALUES (OLD."attribution_days", OLD."brand_id", OLD."budget", OLD."conversion_value", OLD."created_at", OLD."created_by_id", OLD."currency", OLD."ends_at", OLD."exit_on", OLD."finished_at", OLD."goal", OLD."holdout_share", OLD."id", OLD."import_batch_id", OLD."joiner_share", OLD."kind", OLD."margin_rate", OLD."name", OLD."number", OLD."objective", OLD."person_cap", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."priority", OLD."release_plan_id", OLD."released_at", OLD."revenue_basis", OLD."review", OLD."seed", OLD."segment_id", OLD."silence_hours", OLD."silent_touches", OLD."starts_at", OLD."state", OLD."state_reason", OLD."submitted_at", OLD."submitted_by_id", OLD."version", OLD."zone"); RETURN NULL;',
                    hash="b49e87e9a374dfa946026e86488093e77a11415c",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_4123f",
                    table="campaigns_campaign",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="campaign",
            constraint=models.CheckConstraint(
                condition=models.Q(("joiner_share__gte", 0), ("joiner_share__lte", 0.9)),
                name="late_joiners_get_a_share",
            ),
        ),
        migrations.RunSQL(TELL, FORGET),
    ]
