"""The rules of platforms and countries a new installation starts with. Each may be changed on the screens:

a rule that changes gets a new row with a later date, and this file stays as it is.
"""

from datetime import date

from django.db import migrations

BASE = date(2020, 1, 1)  # in force before anything this installation can send
SEEN = date(2026, 11, 1)
CN_SMS = "Mainland SMS operators' common rules"
GSM = "3GPP TS 23.038 and 23.040"

# medium, adapter, country, key, value, valid from, source, source date
RULES = (
    ("sms", "", "CN", "hours", {"from": "08:00", "to": "21:00"}, BASE, CN_SMS, SEEN),
    ("sms", "", "CN", "signature_required", True, BASE, CN_SMS, SEEN),
    ("sms", "", "CN", "opt_out_text", "拒收请回复R", BASE, CN_SMS, SEEN),
    ("sms", "", "CN", "forbidden_characters", "【】", BASE, CN_SMS, SEEN),
    ("sms", "", "CN", "counting", "mainland", BASE, CN_SMS, SEEN),
    ("sms", "", "CN", "ucs_single", 70, BASE, CN_SMS, SEEN),
    ("sms", "", "CN", "ucs_part", 67, BASE, CN_SMS, SEEN),
    ("sms", "", "CN", "longest_characters", 500, BASE, CN_SMS, SEEN),
    ("sms", "", "", "counting", "international", BASE, GSM, None),
    ("sms", "", "", "gsm_single", 160, BASE, GSM, None),
    ("sms", "", "", "gsm_part", 153, BASE, GSM, None),
    ("sms", "", "", "ucs_single", 70, BASE, GSM, None),
    ("sms", "", "", "ucs_part", 67, BASE, GSM, None),
    (
        "sms",
        "",
        "",
        "hours",
        {"from": "08:00", "to": "21:00"},
        BASE,
        "Default of this product, as in mainland China",
        SEEN,
    ),
    ("sms", "", "US", "hours", {"from": "08:00", "to": "21:00"}, BASE, "US TCPA, 47 CFR 64.1200(c)(1)", SEEN),
    (
        "sms",
        "",
        "US",
        "hours_by_region",
        {
            state: {"from": "08:00", "to": "20:00"}
            for state in ("Florida", "Oklahoma", "Maryland", "Washington")
        },
        BASE,
        "US state telephone solicitation laws",
        SEEN,
    ),
    (
        "sms",
        "",
        "",
        "opt_out_words",
        ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "TD", "T", "R", "退订"],
        BASE,
        "Operators' common opt-out words",
        SEEN,
    ),
    (
        "sms",
        "aliyun",
        "CN",
        "messages_a_number_in_24_hours",
        50,
        BASE,
        "Aliyun SMS, promotional messages a number",
        SEEN,
    ),
    ("sms", "aliyun", "", "recipients_a_call", 100, BASE, "Aliyun SMS SendBatchSms", SEEN),
    ("sms", "tencent_sms", "", "recipients_a_call", 200, BASE, "Tencent Cloud SMS SendSms", SEEN),
    ("sms", "twilio", "", "longest_characters", 1600, BASE, "Twilio Messages resource", SEEN),
    (
        "wecom",
        "",
        "",
        "messages_a_customer_a_month",
        "days_in_month",
        date(2025, 11, 17),
        "WeCom developer document 92135: as many messages a month as it has days",
        date(2025, 11, 17),
    ),
    ("wecom", "", "", "longest_bytes", 4000, BASE, "WeCom add_msg_template, text.content", SEEN),
    ("wecom", "", "", "recipients_a_call", 10000, BASE, "WeCom add_msg_template, external_userid", SEEN),
    ("wecom", "", "", "reminders_a_day", 3, BASE, "WeCom remind_groupmsg_send", SEEN),
    (
        "wecom",
        "",
        "",
        "hours",
        {"from": "08:00", "to": "21:00"},
        BASE,
        "Default of this product, as for text messages",
        SEEN,
    ),
    (
        "official_account",
        "",
        "",
        "messages_a_customer_a_month",
        4,
        BASE,
        "WeChat service account, mass messages a user",
        SEEN,
    ),
    ("official_account", "", "", "calls_a_minute", 60, BASE, "WeChat mass messages", SEEN),
    ("official_account", "", "", "recipients_a_call", 10000, BASE, "WeChat mass messages by openid", SEEN),
    (
        "email",
        "",
        "",
        "subject_required",
        True,
        BASE,
        "RFC 5322 and mailbox providers' sender guidelines",
        SEEN,
    ),
    ("email", "", "", "one_click_unsubscribe", True, BASE, "RFC 8058", date(2017, 1, 1)),
    ("email", "", "US", "postal_address_required", True, BASE, "US CAN-SPAM Act, 15 USC 7704(a)(5)", SEEN),
    (
        "social",
        "meta",
        "",
        "audience_members_a_call",
        10000,
        BASE,
        "Meta Marketing API, custom audience users",
        SEEN,
    ),
    (
        "search",
        "google",
        "",
        "audience_members_a_call",
        10000,
        BASE,
        "Google Data Manager API, audienceMembers:ingest",
        SEEN,
    ),
    ("search", "google", "", "calls_a_minute", 300, BASE, "Google Data Manager API", SEEN),
    ("search", "google", "", "calls_a_day", 100000, BASE, "Google Data Manager API", SEEN),
    (
        "social",
        "",
        "",
        "report_days",
        3,
        BASE,
        "Default of this product: same-day figures settle later",
        SEEN,
    ),
    (
        "search",
        "",
        "",
        "report_days",
        3,
        BASE,
        "Default of this product: same-day figures settle later",
        SEEN,
    ),
    ("video", "", "", "report_days", 3, BASE, "Default of this product: same-day figures settle later", SEEN),
    ("kol", "", "", "report_days", 3, BASE, "Default of this product: same-day figures settle later", SEEN),
)


def add(apps, schema_editor):
    rule = apps.get_model("channels", "PlatformRule")
    rule.objects.bulk_create(
        rule(
            medium=medium,
            adapter=adapter,
            country=country,
            key=key,
            value=value,
            valid_from=valid_from,
            source=source,
            source_date=source_date,
        )
        for medium, adapter, country, key, value, valid_from, source, source_date in RULES
    )


def take_out(apps, schema_editor):
    rule = apps.get_model("channels", "PlatformRule")
    for medium, adapter, country, key, _value, valid_from, source, _source_date in RULES:
        rule.objects.filter(
            medium=medium,
            adapter=adapter,
            country=country,
            key=key,
            valid_from=valid_from,
            source=source,
            channel=None,
        ).delete()


class Migration(migrations.Migration):
    dependencies = [("channels", "0001_initial")]
    operations = [migrations.RunPython(add, take_out)]
