from django.db import migrations

RENAME = "UPDATE channels_platformrule SET adapter = 'aliyun_sms' WHERE adapter = 'aliyun' AND medium = 'sms'"
BACK = "UPDATE channels_platformrule SET adapter = 'aliyun' WHERE adapter = 'aliyun_sms' AND medium = 'sms'"


class Migration(migrations.Migration):
    """Rules of Aliyun SMS were written before its adapter had a name: they held for no channel."""

    dependencies = [("channels", "0005_kol_accounts_and_their_posts")]

    operations = [migrations.RunSQL(RENAME, BACK)]
