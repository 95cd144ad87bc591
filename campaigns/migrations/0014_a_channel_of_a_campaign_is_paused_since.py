from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("campaigns", "0013_responses_have_only_the_indexes_that_are_read"),
    ]

    operations = [
        migrations.AlterField(
            model_name="channelplan",
            name="paused_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="paused since"),
        ),
        migrations.AlterField(
            model_name="channelplanevent",
            name="paused_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="paused since"),
        ),
    ]
