import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audiences", "0008_an_index_is_kept_once"),
        ("channels", "0013_events_have_only_the_indexes_that_are_read"),
    ]

    operations = [
        migrations.CreateModel(
            name="ChannelFetch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("reports", "Daily reports"),
                            ("balances", "Balances"),
                            ("employees", "Employees and their customers"),
                            ("events", "Receipts and replies that are asked for"),
                        ],
                        max_length=12,
                    ),
                ),
                ("succeeded_at", models.DateTimeField(blank=True, null=True)),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("error", models.CharField(blank=True, max_length=500)),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                ("nothing", models.BooleanField(default=False)),
                ("settled_until", models.DateField(blank=True, null=True)),
                ("missed", models.JSONField(blank=True, default=list)),
            ],
            options={
                "verbose_name_plural": "channel fetches",
            },
        ),
        migrations.AddIndex(
            model_name="platformaudiencemember",
            index=models.Index(
                condition=models.Q(("held", True), ("wanted", False)),
                fields=["audience", "changed_at"],
                name="audience_member_to_go",
            ),
        ),
        migrations.AddField(
            model_name="channelfetch",
            name="channel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="fetches", to="channels.channel"
            ),
        ),
        migrations.AddConstraint(
            model_name="channelfetch",
            constraint=models.UniqueConstraint(
                fields=("channel", "kind"), name="a_kind_is_fetched_once_a_channel"
            ),
        ),
    ]
