"""Words of channels: what a channel can know and promise, and how it is paid."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Domain(models.TextChoices):
    PUBLIC = "public", _("Public domain")
    PRIVATE = "private", _("Private domain")


class Observability(models.TextChoices):
    """What a channel can know. Unknown is never a gap and never reached."""

    PERSON_OBSERVED = "person_observed", _("Person observed")
    PERSON_TARGETED = "person_targeted", _("Person targeted")
    PLACEMENT = "placement", _("Placement")


class Guarantee(models.TextChoices):
    """What an adapter can promise of a touch."""

    IMMEDIATE = "immediate", _("Immediate")
    CONFIRMED_LATER = "confirmed_later", _("Confirmed later")
    AGGREGATE = "aggregate", _("Aggregate")


class PriceModel(models.TextChoices):
    PER_MESSAGE = "per_message", _("Per message")
    CPM = "cpm", _("CPM: per 1,000 exposures")
    CPC = "cpc", _("CPC: per click")
    CPA = "cpa", _("CPA: per action")
    CPS = "cps", _("CPS: share of sales")
    FIXED = "fixed", _("Fixed")
    FIXED_PLUS_ORDER = "fixed_plus_order", _("Fixed plus per order")
