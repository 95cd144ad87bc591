from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audiences", "0002_every_customer_has_a_contact_state")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="attempts",
            field=models.SmallIntegerField(default=0),
        ),
    ]
