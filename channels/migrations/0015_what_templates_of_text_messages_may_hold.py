"""What Aliyun and Tencent Cloud take in the variables of an approved template, as dated rules anybody may replace.

How long a value may be at Tencent its console tells for each account (382/13301): whoever knows it adds the row.
"""

from datetime import date

from django.db import migrations

BASE, READ = date(2020, 1, 1), date(2026, 11, 28)
ALIYUN = "Aliyun SMS, help.aliyun.com 44357 (变量规范) and isv.PARAM_NOT_SUPPORT_URL"
SHORT_LINKS = "Aliyun, help.aliyun.com 432025: a short link may end in a variable of the recipient's own, in notifications"
TENCENT = "Tencent Cloud SMS, document 382/39023 (正文模板审核标准)"

# adapter, key, value, source
RULES = (
    ("aliyun_sms", "template_links", "code", SHORT_LINKS),
    ("aliyun_sms", "template_characters", 35, ALIYUN),
    ("aliyun_sms", "template_variables_apart", True, ALIYUN),
    ("aliyun_sms", "template_variables_once", True, ALIYUN),
    ("tencent_sms", "template_links", "fixed", TENCENT),
    ("tencent_sms", "template_variables_apart", True, TENCENT),
)


def add(apps, schema_editor):
    rule = apps.get_model("channels", "PlatformRule")
    for adapter, key, value, source in RULES:
        rule.objects.get_or_create(
            medium="sms", adapter=adapter, country="CN", key=key, channel=None, valid_from=BASE,
            defaults={"value": value, "source": source, "source_date": READ},
        )  # fmt: skip


def take_out(apps, schema_editor):
    rule = apps.get_model("channels", "PlatformRule")
    for adapter, key, _value, source in RULES:
        rule.objects.filter(
            medium="sms", adapter=adapter, country="CN", key=key, channel=None, valid_from=BASE, source=source
        ).delete()


class Migration(migrations.Migration):
    dependencies = [("channels", "0014_how_fetching_fares_is_kept_by_kind")]
    operations = [migrations.RunPython(add, take_out)]
