"""The unique key of identities begins with the value, by which rows differ; it used to begin with the kind."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audiences", "0004_changes_of_segments_and_stages_are_recorded"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="identity",
            name="an_identity_belongs_to_one_customer",
        ),
        migrations.AddConstraint(
            model_name="identity",
            constraint=models.UniqueConstraint(
                fields=("value", "kind", "issuer"), name="an_identity_belongs_to_one_customer"
            ),
        ),
    ]
