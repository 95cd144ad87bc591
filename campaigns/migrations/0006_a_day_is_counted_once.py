from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0005_changes_of_campaigns_and_caps_are_recorded")]

    operations = [
        migrations.CreateModel(
            name="DayCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel_id", models.IntegerField()),
                ("campaign_id", models.BigIntegerField(default=0)),
                ("day", models.DateField()),
                ("taken", models.IntegerField(default=0)),
            ],
            options={"db_table": "campaigns_day_count"},
        ),
        migrations.AddConstraint(
            model_name="daycount",
            constraint=models.UniqueConstraint(
                fields=("channel_id", "day", "campaign_id"), name="a_day_is_counted_once"
            ),
        ),
    ]
