"""Who says so: the sources of the platform rules we ship, in the reader's language. What an admin writes stays as it is."""

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

SHIPPED = (
    _("3GPP TS 23.038 and 23.040"),
    _("Aliyun SMS SendBatchSms"),
    _("Aliyun SMS, help.aliyun.com 44357 (变量规范) and isv.PARAM_NOT_SUPPORT_URL"),
    _("Aliyun SMS, promotional messages a number"),
    _(
        "Aliyun, help.aliyun.com 432025: a short link may end in a variable of the recipient's own, in notifications"
    ),
    _("Default of this product, as for text messages"),
    _("Default of this product, as in mainland China"),
    _("Default of this product: same-day figures settle later"),
    _("Google Ads Help, size of audience segments: 100 active users on every network"),
    _("Google Data Manager API"),
    _("Google Data Manager API, audienceMembers:ingest"),
    _("Mainland SMS operators' common rules"),
    _("Meta Marketing API, custom audience users"),
    _("Microsoft Advertising, customer match: 300 matched people"),
    _("Operators' common opt-out words"),
    _("RFC 5322 and mailbox providers' sender guidelines"),
    _("RFC 8058"),
    _("Tencent Cloud SMS SendSms"),
    _("Tencent Cloud SMS, document 382/39023 (正文模板审核标准)"),
    _("Twilio Messages resource"),
    _("US CAN-SPAM Act, 15 USC 7704(a)(5)"),
    _("US TCPA, 47 CFR 64.1200(c)(1)"),
    _("US state telephone solicitation laws"),
    _("WeChat mass messages"),
    _("WeChat mass messages by openid"),
    _("WeChat service account, mass messages a user"),
    _("WeChat template messages: notices of a service only, no marketing"),
    _("WeCom add_msg_template, external_userid"),
    _("WeCom add_msg_template, text.content"),
    _("WeCom developer document 92135: as many messages a month as it has days"),
    _("WeCom remind_groupmsg_send"),
)


def in_words(source: str | Promise) -> str:
    """A source as the reader reads it."""
    return gettext(str(source)) if source else ""
