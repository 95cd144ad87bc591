from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0002_touches_are_bound_to_what_was_approved")]

    operations = [
        migrations.AddField(
            model_name="plan", name="definition_hash", field=models.CharField(blank=True, max_length=64)
        ),
        migrations.AddConstraint(
            model_name="campaignversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("draft", "submitted"))),
                fields=("campaign",),
                name="a_campaign_has_one_open_version",
            ),
        ),
    ]
