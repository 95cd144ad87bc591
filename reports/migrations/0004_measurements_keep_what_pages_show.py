"""Pages read what was measured: credits of a run by channel, and how the people reached compare with others."""

from django.db import migrations, models

ADD_UP = """
UPDATE reports_attributionrun r SET channels = coalesce((
    SELECT jsonb_agg(jsonb_build_object('channel_id', channel_id, 'orders', orders, 'conversions', conversions,
        'revenue', revenue::text) ORDER BY revenue DESC)
    FROM (
        SELECT channel_id, count(DISTINCT order_id) AS orders, sum(share) AS conversions, sum(amount) AS revenue
        FROM reports_attributioncredit k WHERE k.run_id = r.id GROUP BY 1
    ) c
), '[]')
"""


class Migration(migrations.Migration):
    dependencies = [
        ("reports", "0003_coverage_is_counted_as_touches_change"),
    ]

    operations = [
        migrations.AddField(
            model_name="attributionrun",
            name="channels",
            field=models.JSONField(default=list),
        ),
        migrations.RunSQL(ADD_UP, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="SelectionMeasure",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("campaign_id", models.BigIntegerField()),
                ("targeted", models.BigIntegerField()),
                ("responding", models.BigIntegerField()),
                ("targeted_paid", models.DecimalField(decimal_places=4, max_digits=20)),
                ("others", models.BigIntegerField()),
                ("others_paid", models.DecimalField(decimal_places=4, max_digits=20)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("computed_at", models.DateTimeField()),
                ("seconds", models.FloatField(default=0)),
            ],
            options={
                "indexes": [models.Index(fields=["campaign_id", "-computed_at"], name="selection_newest")],
            },
        ),
    ]
