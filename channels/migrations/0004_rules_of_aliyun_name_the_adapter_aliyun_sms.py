from django.db import migrations

RENAME = "UPDATE channels_platformrule SET adapter = 'aliyun_sms' WHERE adapter = 'aliyun' AND medium = 'sms'"
BACK = "UPDATE channels_platformrule SET adapter = 'aliyun' WHERE adapter = 'aliyun_sms' AND medium = 'sms'"


class Migration(migrations.Migration):
    """Rules of Aliyun SMS were written before its adapter had a name: they held for no channel."""

    dependencies = [("channels", "0003_changes_of_channels_are_recorded_and_erased_people_are_taken_out")]

    operations = [migrations.RunSQL(RENAME, BACK)]
