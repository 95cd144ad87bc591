"""The words by which marketing is known in WeChat's template messages, as a dated rule anybody may replace."""

from datetime import date

from django.db import migrations

ROW = {
    "medium": "official_account",
    "adapter": "official_account",
    "country": "",
    "key": "marketing_words",
    "channel": None,
}
WORDS = [
    "优惠", "折扣", "打折", "特价", "促销", "抢购", "秒杀", "满减", "立减", "红包", "领券", "限时", "大促", "双十一", "618",
    "买一送一", "免费领", "% off", "discount", "sale", "coupon", "promo",
]  # fmt: skip


def add(apps, schema_editor):
    rule = apps.get_model("channels", "PlatformRule")
    rule.objects.get_or_create(
        **ROW,
        valid_from=date(2020, 1, 1),
        defaults={
            "value": WORDS,
            "source": "WeChat template messages: notices of a service only, no marketing",
            "source_date": date(2026, 11, 20),
        },
    )


def take_out(apps, schema_editor):
    apps.get_model("channels", "PlatformRule").objects.filter(**ROW, valid_from=date(2020, 1, 1)).delete()


class Migration(migrations.Migration):
    dependencies = [("channels", "0007_employees_have_days_and_groups")]
    operations = [migrations.RunPython(add, take_out)]
