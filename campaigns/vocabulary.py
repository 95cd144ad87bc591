"""Words of campaigns: states, causes of a gap and who owns them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class CampaignState(models.TextChoices):
    """draft → submitted → approved → scheduled → running ⇄ paused → finished → reviewed."""

    DRAFT = "draft", _("Draft")
    SUBMITTED = "submitted", _("Submitted")
    APPROVED = "approved", _("Approved")
    SCHEDULED = "scheduled", _("Scheduled")
    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")
    FINISHED = "finished", _("Finished")
    REVIEWED = "reviewed", _("Reviewed")


class MemberState(models.TextChoices):
    """active → waiting (silent) → active (reopened by an occasion); exited and ended are final."""

    ACTIVE = "active", _("Active")
    WAITING = "waiting", _("Waiting")
    EXITED = "exited", _("Exited")
    ENDED = "ended", _("Ended")


class TouchState(models.TextChoices):
    """Where a planned contact stands. ``planned``, ``claimed`` and ``held`` are open; the rest is final,

    though a late receipt may still move ``sent`` or ``unknown`` to ``delivered`` or ``gap``.
    """

    PLANNED = "planned", _("Planned")
    CLAIMED = "claimed", _("Claimed")
    HELD = "held", _("Waiting for confirmation")
    SENT = "sent", _("Sent")
    DELIVERED = "delivered", _("Delivered")
    UNKNOWN = "unknown", _("Unknown")
    UNOBSERVED = "unobserved", _("Unobserved")
    GAP = "gap", _("Gap")
    RELEASED = "released", _("Released")


OPEN_TOUCH_STATES = (TouchState.PLANNED, TouchState.CLAIMED, TouchState.HELD)
REACHED_TOUCH_STATES = (TouchState.SENT, TouchState.DELIVERED)


class AttemptState(models.TextChoices):
    """``recorded`` is committed before the call. A touch has at most one attempt that is not known to
    have failed (an index enforces it): only refused, throttled, bounced and expired permit another."""

    RECORDED = "recorded", _("Recorded")
    ACCEPTED = "accepted", _("Accepted")
    HELD = "held", _("Waiting for confirmation")
    DELIVERED = "delivered", _("Delivered")
    UNKNOWN = "unknown", _("Unknown")
    REFUSED = "refused", _("Refused")
    THROTTLED = "throttled", _("Throttled")
    BOUNCED = "bounced", _("Bounced")
    EXPIRED = "expired", _("Expired")


LIVE_ATTEMPT_STATES = (
    AttemptState.RECORDED,
    AttemptState.ACCEPTED,
    AttemptState.HELD,
    AttemptState.DELIVERED,
    AttemptState.UNKNOWN,
)


class Cause(models.TextChoices):
    """Why a target was not met (gap), or why a touch was let go (released)."""

    # Gap, found when planning or when dispatching.
    NO_IDENTITY = "no_identity", _("No valid address")
    NO_CONSENT = "no_consent", _("No consent")
    OPTED_OUT = "opted_out", _("Opted out")
    ERASED = "erased", _("Erased")
    PRESSURE = "pressure", _("Contact policy: place taken by other contacts")
    BUDGET = "budget", _("Budget")
    CAPACITY = "capacity", _("Channel capacity")
    HOURS = "hours", _("No permitted hour left")
    CAP = "cap", _("The campaign's own cap of touches a person")
    PRICE = "price", _("Not worth its price")
    PLATFORM_RULE = "platform_rule", _("Platform rule")
    DEADLINE = "deadline", _("Deadline passed")
    CHANNEL_STOPPED = "channel_stopped", _("Channel paused or stopped")
    UNCONFIRMED = "unconfirmed", _("Not confirmed by the employee")
    REFUSED = "refused", _("Refused by the provider")
    BOUNCED = "bounced", _("Bounced")
    CONTENT = "content", _("No approved content")
    OFFER = "offer", _("Offer used up, over, or redeemed already")
    # Released: let go by rule, which is no gap.
    SILENCE = "silence", _("Silence")
    EXIT = "exit", _("Exit")
    STAGE_CHANGE = "stage_change", _("Stage change")
    CAMPAIGN_STOPPED = "campaign_stopped", _("Campaign stopped")
    CHANGED = "changed", _("Changed by a new version")
    MERGED = "merged", _("Merged into another customer")


RELEASE_CAUSES = (
    Cause.SILENCE,
    Cause.EXIT,
    Cause.STAGE_CHANGE,
    Cause.CAMPAIGN_STOPPED,
    Cause.CHANGED,
    Cause.MERGED,
)


class Owner(models.TextChoices):
    """Who can mend a gap."""

    AUDIENCE = "audience", _("Audience owner")
    CAMPAIGN = "campaign", _("Campaign owner")
    EMPLOYEE = "employee", _("Employee, then store")
    CHANNEL = "channel", _("Channel admin")
    OTHER_CAMPAIGN = "other_campaign", _("The campaign that took the place")


OWNER_OF: dict[str, Owner] = {
    Cause.NO_IDENTITY: Owner.AUDIENCE,
    Cause.NO_CONSENT: Owner.AUDIENCE,
    Cause.OPTED_OUT: Owner.AUDIENCE,
    Cause.ERASED: Owner.AUDIENCE,
    Cause.PRESSURE: Owner.OTHER_CAMPAIGN,
    Cause.BUDGET: Owner.CAMPAIGN,
    Cause.CAPACITY: Owner.CAMPAIGN,
    Cause.HOURS: Owner.CAMPAIGN,
    Cause.CAP: Owner.CAMPAIGN,
    Cause.PRICE: Owner.CAMPAIGN,
    Cause.CONTENT: Owner.CAMPAIGN,
    Cause.OFFER: Owner.CAMPAIGN,
    Cause.DEADLINE: Owner.CAMPAIGN,
    Cause.PLATFORM_RULE: Owner.CHANNEL,
    Cause.CHANNEL_STOPPED: Owner.CHANNEL,
    Cause.UNCONFIRMED: Owner.EMPLOYEE,
    Cause.REFUSED: Owner.CHANNEL,
    Cause.BOUNCED: Owner.AUDIENCE,
}
