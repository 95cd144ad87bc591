import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audiences", "0008_an_index_is_kept_once"),
        ("campaigns", "0013_responses_have_only_the_indexes_that_are_read"),
        ("channels", "0013_events_have_only_the_indexes_that_are_read"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="response",
            name="response_by_batch",
        ),
        migrations.AlterField(
            model_name="response",
            name="import_batch",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="audiences.importbatch",
            ),
        ),
        migrations.AddIndex(
            model_name="response",
            index=django.contrib.postgres.indexes.BrinIndex(
                fields=["import_batch"], name="response_by_batch"
            ),
        ),
    ]
