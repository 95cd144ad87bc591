from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("campaigns", "0014_responses_of_one_load_stand_together"),
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
