import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("channels", "0012_balances_are_fetched_and_every_version_is_kept"),
    ]

    operations = [
        migrations.AlterField(
            model_name="inboxevent",
            name="channel",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="inbox_events",
                to="channels.channel",
            ),
        ),
    ]
