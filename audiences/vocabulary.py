"""Words every stage of the road shares. One word for one thing, in code, screens and documents."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Medium(models.TextChoices):
    """By what kind of means a person is reached."""

    SEARCH = "search", _("Search")
    SOCIAL = "social", _("Social")
    VIDEO = "video", _("Video")
    KOL = "kol", _("KOL")
    SMS = "sms", _("SMS")
    EMAIL = "email", _("Email")
    WECOM = "wecom", _("WeCom")
    OFFICIAL_ACCOUNT = "official_account", _("Official account")
    APP_PUSH = "app_push", _("App push")
    CALL = "call", _("Call")
    MAIL = "mail", _("Mail")
    WEBHOOK = "webhook", _("Webhook")
    OTHER = "other", _("Other")


class Stage(models.TextChoices):
    """Maturity of a customer: 粉丝—会员—客户—超级用户."""

    PROSPECT = "prospect", _("Prospect")
    MEMBER = "member", _("Member")
    CUSTOMER = "customer", _("Customer")
    ADVOCATE = "advocate", _("Advocate")


class IdentityKind(models.TextChoices):
    """How a person is known somewhere. ``issuer`` tells where, when the value alone is not unique."""

    PHONE = "phone", _("Phone")  # E.164, issuer ''
    EMAIL = "email", _("Email")  # lower case, issuer ''
    MEMBER_NUMBER = "member_number", _("Member number")  # issuer: brand code
    WECOM_EXTERNAL_ID = "wecom_external_id", _("WeCom external id")  # issuer: corp id
    OPENID = "openid", _("OpenID")  # issuer: appid
    UNIONID = "unionid", _("UnionID")  # issuer: open platform account
    DEVICE = "device", _("Device")  # issuer: idfa, oaid, imei…
    POSTAL = "postal", _("Postal address key")  # issuer ''
    EXTERNAL = "external", _("External id")  # issuer: name of the other system


# The identity kinds a medium can address, best first.
REACHED_BY: dict[str, tuple[str, ...]] = {
    Medium.SEARCH: (IdentityKind.PHONE, IdentityKind.EMAIL, IdentityKind.DEVICE),
    Medium.SOCIAL: (IdentityKind.PHONE, IdentityKind.EMAIL, IdentityKind.DEVICE),
    Medium.VIDEO: (IdentityKind.PHONE, IdentityKind.EMAIL, IdentityKind.DEVICE),
    Medium.KOL: (),
    Medium.SMS: (IdentityKind.PHONE,),
    Medium.EMAIL: (IdentityKind.EMAIL,),
    Medium.WECOM: (IdentityKind.WECOM_EXTERNAL_ID,),
    Medium.OFFICIAL_ACCOUNT: (IdentityKind.OPENID,),
    Medium.APP_PUSH: (IdentityKind.DEVICE,),
    Medium.CALL: (IdentityKind.PHONE,),
    Medium.MAIL: (IdentityKind.POSTAL, IdentityKind.EXTERNAL, IdentityKind.MEMBER_NUMBER),
    Medium.WEBHOOK: (IdentityKind.MEMBER_NUMBER, IdentityKind.EXTERNAL),
    Medium.OTHER: (IdentityKind.EXTERNAL, IdentityKind.MEMBER_NUMBER),
}


class ResponseKind(models.TextChoices):
    """What a person did, or what a provider tells about a touch."""

    EXPOSURE = "exposure", _("Exposure")
    DELIVERED = "delivered", _("Delivered")
    OPEN = "open", _("Open")
    CLICK = "click", _("Click")
    REPLY = "reply", _("Reply")
    FOLLOW = "follow", _("Follow")
    LIKE = "like", _("Like")
    SHARE = "share", _("Share")
    FAVOURITE = "favourite", _("Favourite")
    ADD_TO_CART = "add_to_cart", _("Add to cart")
    LEAD = "lead", _("Lead")
    REGISTRATION = "registration", _("Registration")
    CONSULTATION = "consultation", _("Consultation")
    VISIT = "visit", _("Visit")
    SCAN = "scan", _("Scan")
    REDEMPTION = "redemption", _("Redemption")
    CONVERSION = "conversion", _("Conversion")
    RETURN = "return", _("Return")
    OPT_OUT = "opt_out", _("Opt-out")
    COMPLAINT = "complaint", _("Complaint")


class Purpose(models.TextChoices):
    """What a consent permits. Upload to a platform is a purpose of its own."""

    CONTACT = "contact", _("Contact")
    UPLOAD = "upload", _("Upload to a platform")


def permission_key(brand_id: int | str, medium: str, purpose: str = Purpose.CONTACT) -> str:
    """The entry of a permission in ``ContactState.allowed`` and ``.blocked``: ``contact:1:sms``.

    ``*`` stands for every brand or every medium, in ``blocked`` only.
    """
    return f"{purpose}:{brand_id}:{medium}"
