from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("channels", "0011_calls_of_a_provider_are_counted")]

    operations = [
        migrations.AddField(
            model_name="walletstatement",
            name="version",
            field=models.IntegerField(default=1, db_default=1),
        ),
        migrations.AddField(
            model_name="walletstatement",
            name="counted",
            field=models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True),
        ),
        migrations.RemoveConstraint(model_name="walletstatement", name="a_statement_is_stored_once"),
        migrations.AddConstraint(
            model_name="walletstatement",
            constraint=models.UniqueConstraint(
                fields=("channel", "day", "unit", "source", "version"), name="a_statement_is_stored_once"
            ),
        ),
    ]
