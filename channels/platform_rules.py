"""Rules of platforms and countries as dated rows: looked up, never written into code.

For one medium and key the narrowest row wins (channel, then adapter, then country, then medium), and among
equals the one that came into force last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import Any
from zoneinfo import available_timezones

from django.db.models import F, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import Medium
from channels import sms_text
from channels.models import Channel, PlatformRule


@dataclass(frozen=True, slots=True)
class Key:
    """What a rule of this key says, and the shape of its value."""

    label: Any
    meaning: Any
    shape: str  # integer, text, words, boolean, hours, hours_by_region, choice
    choices: Sequence[str] = ()


KEYS: dict[str, Key] = {
    # Time
    "hours": Key(
        gettext_lazy("Hours of sending"),
        gettext_lazy("Messages go out between these times of the recipient's zone."),
        "hours",
    ),
    "hours_by_region": Key(
        gettext_lazy("Hours of sending by region"),
        gettext_lazy(
            "Regions of the country whose hours differ, with the time zones they lie in: everybody there is "
            "contacted within these hours."
        ),
        "hours_by_region",
    ),
    # Text
    "signature_required": Key(
        gettext_lazy("Signature needed"),
        gettext_lazy("The text begins with a signature such as 【Brand】."),
        "boolean",
    ),
    "opt_out_text": Key(
        gettext_lazy("Opt-out words"),
        gettext_lazy("Marketing text ends with these words."),
        "text",
    ),
    "opt_out_words": Key(
        gettext_lazy("Replies that opt out"),
        gettext_lazy("A reply of one of these words withdraws consent."),
        "words",
    ),
    "forbidden_characters": Key(
        gettext_lazy("Forbidden characters"),
        gettext_lazy("Characters that may not stand in the body."),
        "text",
    ),
    "counting": Key(
        gettext_lazy("Counting"),
        gettext_lazy(
            "international: GSM 03.38 where possible. mainland: UCS-2 units, even for plain English."
        ),
        "choice",
        tuple(sms_text.Counting),
    ),
    "gsm_single": Key(gettext_lazy("Septets of a single message"), "", "integer"),
    "gsm_part": Key(gettext_lazy("Septets of each part"), "", "integer"),
    "ucs_single": Key(gettext_lazy("Characters of a single message"), "", "integer"),
    "ucs_part": Key(gettext_lazy("Characters of each part"), "", "integer"),
    "longest_characters": Key(gettext_lazy("Longest text in characters"), "", "integer"),
    "longest_bytes": Key(gettext_lazy("Longest text in bytes"), gettext_lazy("Counted in UTF-8."), "integer"),
    "subject_required": Key(gettext_lazy("Subject needed"), "", "boolean"),
    "one_click_unsubscribe": Key(
        gettext_lazy("One-click unsubscribe"),
        gettext_lazy("List-Unsubscribe and List-Unsubscribe-Post headers, both signed by DKIM (RFC 8058)."),
        "boolean",
    ),
    "postal_address_required": Key(
        gettext_lazy("Postal address needed"),
        gettext_lazy("The sender's postal address stands in the message."),
        "boolean",
    ),
    # Texts that a provider approves before they are sent
    "template_links": Key(
        gettext_lazy("Links in templates"),
        gettext_lazy(
            "“code”: the end of a link may be a variable, behind an address that stands in the template. “fixed”: no part "
            "of a link may be a variable; it stands in the template whole, the same for everybody."
        ),
        "choice",
        ("code", "fixed"),
    ),
    "template_characters": Key(
        gettext_lazy("Longest value of a template's variable"),
        gettext_lazy("Characters. A link's code has up to 35."),
        "integer",
    ),
    "template_variables_apart": Key(
        gettext_lazy("Words between variables"),
        gettext_lazy("Two variables of a template may not stand side by side, and none may be alone."),
        "boolean",
    ),
    "template_variables_once": Key(
        gettext_lazy("Each variable once"),
        gettext_lazy("A variable stands in a template only once."),
        "boolean",
    ),
    "marketing_forbidden": Key(
        gettext_lazy("No marketing"),
        gettext_lazy("Messages of this kind may not carry marketing."),
        "boolean",
    ),
    "marketing_words": Key(
        gettext_lazy("Words of marketing"),
        gettext_lazy("A template message of an official account with one of these words is refused."),
        "words",
    ),
    # How often
    "messages_a_customer_a_month": Key(
        gettext_lazy("Messages to a customer in a month"),
        gettext_lazy("A number, or “days_in_month”."),
        "integer_or_days",
    ),
    "messages_a_customer_a_week": Key(gettext_lazy("Messages to a customer in a week"), "", "integer"),
    "messages_a_customer_a_day": Key(gettext_lazy("Messages to a customer in a day"), "", "integer"),
    "messages_a_number_in_24_hours": Key(gettext_lazy("Messages to a number in 24 hours"), "", "integer"),
    "calls_a_minute": Key(
        gettext_lazy("Calls a minute"),
        gettext_lazy("Calls of the provider in any sixty seconds, of one channel and over all workers."),
        "integer",
    ),
    "calls_a_day": Key(
        gettext_lazy("Calls a day"),
        gettext_lazy("Calls of the provider on one day, of one channel and over all workers."),
        "integer",
    ),
    "reminders_a_day": Key(
        gettext_lazy("Reminders of a task in 24 hours"),
        gettext_lazy("To an employee who has not confirmed it yet; never more than three of a task in all."),
        "integer",
    ),
    # Audiences
    "recipients_a_call": Key(
        gettext_lazy("Recipients in one call"),
        gettext_lazy("Never more than the adapter itself knows of."),
        "integer",
    ),
    "audience_members_a_call": Key(gettext_lazy("Members in one upload"), "", "integer"),
    "smallest_audience": Key(
        gettext_lazy("Smallest audience"),
        gettext_lazy("A platform does not serve an audience below this size."),
        "integer",
    ),
    "report_days": Key(
        gettext_lazy("Days of reports fetched again"),
        gettext_lazy("Figures of a day settle later: this many days are fetched each time."),
        "integer",
    ),
    "report_reach_days": Key(
        gettext_lazy("Days back for which reports are given"),
        gettext_lazy("After a long stop, days missed are fetched as far back as this. Without a rule: 180."),
        "integer",
    ),
}

DAYS_IN_MONTH = "days_in_month"
# Of an official account these are rules of mass messages; its notices keep to such rows only where they name the channel.
OF_MASS_MESSAGES = ("messages_a_customer_a_month", "recipients_a_call", "calls_a_minute", "calls_a_day")


def _fitting(channel: Channel | None) -> Q:
    """Rows of every channel, and those narrowed to this one."""
    fits = Q(channel=None, adapter="")
    if channel is None:
        return fits
    fits |= Q(channel=channel) | Q(channel=None, adapter=channel.adapter)
    return fits & ~Q(key__in=OF_MASS_MESSAGES, channel=None) if is_for_notices(channel) else fits


def rows_in_force(
    medium: str, key: str, *, channel: Channel | None = None, country: str = "", on: date
) -> list[PlatformRule]:
    """The rows of a key that hold on a day, the winning one first."""
    places = {"", country}
    return list(
        PlatformRule.objects.filter(
            _fitting(channel), medium=medium, key=key, country__in=places, valid_from__lte=on
        )
        .filter(Q(valid_to=None) | Q(valid_to__gte=on))
        .order_by(F("channel").desc(nulls_last=True), "-adapter", "-country", "-valid_from", "-pk")
    )


def ranges(channel: Channel, first: date, last: date) -> list[date]:
    """``first``, and every later day up to ``last`` from which other rules hold for a channel: between two of them the
    rules stay the same."""
    rows = PlatformRule.objects.filter(
        _fitting(channel), medium=channel.medium, country__in={"", country_of(channel)}
    )
    days = {first}
    for begins, ends in rows.values_list("valid_from", "valid_to"):
        days |= {begins, ends + timedelta(days=1)} if ends else {begins}
    return sorted(day for day in days if first <= day <= max(first, last))


def in_force(channel: Channel, key: str, on: date) -> PlatformRule | None:
    """The row of a key that holds for a channel on a day, with its source."""
    rows = rows_in_force(channel.medium, key, channel=channel, country=country_of(channel), on=on)
    return rows[0] if rows else None


def rule_value(
    medium: str, key: str, *, channel: Channel | None = None, country: str = "", on: date, default: Any = None
) -> Any:
    """The value that holds on a day, or ``default``. Raises :class:`KeyError` for a key that does not exist."""
    KEYS[key]
    rows = rows_in_force(medium, key, channel=channel, country=country, on=on)
    return rows[0].value if rows else default


def rule_values(
    medium: str, keys: Iterable[str], *, channel: Channel | None = None, country: str = "", on: date
) -> dict[str, Any]:
    """Several keys in one query; those without a row are left out."""
    wanted = set(keys)
    rows = (
        PlatformRule.objects.filter(
            _fitting(channel), medium=medium, key__in=wanted, country__in={"", country}, valid_from__lte=on
        )
        .filter(Q(valid_to=None) | Q(valid_to__gte=on))
        .order_by("key", F("channel").asc(nulls_first=True), "adapter", "country", "valid_from", "pk")
    )
    return {row.key: row.value for row in rows}  # the last of a key is the winning one


def country_of(channel: Channel) -> str:
    """The country a channel sends to, where its settings say so; mainland China for text messages otherwise."""
    told = str(channel.settings.get("country") or "").upper()
    return told or ("CN" if channel.medium == Medium.SMS else "")


def messages_a_month(value: Any, days_in_month: int) -> int | None:
    """A monthly quota as a number: some platforms allow as many messages as the month has days."""
    if value is None:
        return None
    return days_in_month if value == DAYS_IN_MONTH else int(value)


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with a message: where it stands, the rule it breaks, and what to do."""

    where: str  # subject, text, html, channel
    rule: str
    text: str
    source: str = ""  # who says so
    since: date | None = None  # from when the broken row holds
    error: bool = True  # forbids approval; else it is told


TEXT_KEYS = (
    "signature_required",
    "opt_out_text",
    "forbidden_characters",
    "counting",
    "gsm_single",
    "gsm_part",
    "ucs_single",
    "ucs_part",
    "longest_characters",
    "longest_bytes",
    "subject_required",
    "postal_address_required",
    "one_click_unsubscribe",
    "marketing_forbidden",
    "marketing_words",
)


def check_message(
    channel: Channel, subject: str, text: str, html: str, on: date, country: str | None = None
) -> list[Violation]:
    """What the rules in force on a day forbid in a message as it would be sent on this channel.

    For text messages ``text`` is the body without the signature; the signature is a setting of the channel.
    """
    country = country_of(channel) if country is None else country
    rules = rule_values(channel.medium, TEXT_KEYS, channel=channel, country=country, on=on)
    found = list(_always(channel, subject, text, html))
    if rules.get("marketing_forbidden"):
        found.append(
            Violation(
                "channel",
                "marketing_forbidden",
                _(
                    "This kind of message may not carry marketing. Choose another channel, or another kind of message."
                ),
            )
        )
    if is_for_notices(channel):
        found += _marketing(f"{subject}\n{text}", rules.get("marketing_words") or ())
    if rules.get("subject_required") and not subject.strip():
        found.append(Violation("subject", "subject_required", _("Write a subject.")))
    if rules.get("postal_address_required") and not str(channel.settings.get("postal_address") or "").strip():
        found.append(
            Violation(
                "channel",
                "postal_address_required",
                _(
                    "Put the sender's postal address into the channel's settings; it is added below each message."
                ),
            )
        )
    if rules.get("one_click_unsubscribe") and channel.adapter == "email" and not _signs(channel):
        found.append(
            Violation(
                "channel",
                "one_click_unsubscribe",
                _(
                    "Its mail is not signed: mailbox providers pass over one-click unsubscribing, and may keep mail to many "
                    "out. Enter the DKIM domain, selector and key in the channel's settings."
                ),
                error=False,
            )
        )
    found += _text_rules(channel, text, rules)
    return [with_source(violation, channel, country, on) for violation in found]


def with_source(violation: Violation, channel: Channel, country: str, on: date) -> Violation:
    """The row that is broken, named by its source; our own rules need none."""
    if violation.rule not in KEYS:
        return violation
    row = rows_in_force(channel.medium, violation.rule, channel=channel, country=country, on=on)[0]
    return replace(violation, source=row.source, since=row.valid_from)


def _signs(channel: Channel) -> bool:
    """Whether a channel's mail is signed by DKIM, with its List-Unsubscribe headers (RFC 8058)."""
    named = all(str(channel.settings.get(name) or "").strip() for name in ("dkim_domain", "dkim_selector"))
    return named and bool((channel.credentials or {}).get("dkim_key"))


def is_for_notices(channel: Channel) -> bool:
    """Whether a channel sends template messages of an official account: notices of a service, never marketing."""
    return channel.medium == Medium.OFFICIAL_ACCOUNT and channel.settings.get("kind") == "template"


def _marketing(text: str, words: Sequence[str]) -> Iterable[Violation]:
    used = [word for word in words if word.lower() in text.lower()]
    if used:
        yield Violation(
            "text",
            "marketing_words",
            _(
                "Template messages may not carry marketing, and WeChat closes accounts for it. Take out “%(words)s”, or"
                " send it by a channel for mass messages."
            )
            % {"words": ", ".join(used)},
        )


def _always(channel: Channel, subject: str, text: str, html: str) -> Iterable[Violation]:
    if not text.strip() and not html.strip():
        yield Violation("text", "text", _("Write a text."))
    if "\n" in subject or "\r" in subject:
        yield Violation("subject", "subject", _("A subject is one line."))


def _text_rules(channel: Channel, text: str, rules: dict[str, Any]) -> Iterable[Violation]:
    signature = signature_of(channel)
    if rules.get("signature_required") and not signature:
        yield Violation(
            "channel",
            "signature_required",
            _("Enter the approved signature in the channel's settings; every message begins with it."),
        )
    forbidden = [sign for sign in rules.get("forbidden_characters") or "" if sign in text]
    if forbidden:
        yield Violation(
            "text",
            "forbidden_characters",
            _("Take out %(signs)s: only the signature may hold them.") % {"signs": " ".join(forbidden)},
        )
    ending = rules.get("opt_out_text") or ""
    if ending and not text.rstrip().endswith(ending):
        yield Violation("text", "opt_out_text", _("End the text with “%(words)s”.") % {"words": ending})
    whole = signature + text
    longest = rules.get("longest_characters")
    if longest and sms_text.ucs2_units(whole) > int(longest):
        yield Violation(
            "text",
            "longest_characters",
            _("Shorten the text: with its signature it has %(n)d characters, and %(longest)d are allowed.")
            % {"n": sms_text.ucs2_units(whole), "longest": int(longest)},
        )
    longest = rules.get("longest_bytes")
    if longest and len(whole.encode()) > int(longest):
        yield Violation(
            "text",
            "longest_bytes",
            _("Shorten the text: it has %(n)d bytes, and %(longest)d are allowed.")
            % {"n": len(whole.encode()), "longest": int(longest)},
        )


def signature_of(channel: Channel) -> str:
    """The signature as it stands before the text, in its brackets; '' where the channel has none."""
    signature = str(channel.settings.get("signature") or "").strip().strip("【】")
    return f"【{signature}】" if signature else ""


def cut_message(channel: Channel, text: str, on: date, country: str | None = None) -> sms_text.Cut:
    """How a text message on this channel is counted and cut, signature included."""
    rules = rule_values(
        channel.medium,
        TEXT_KEYS,
        channel=channel,
        country=country_of(channel) if country is None else country,
        on=on,
    )
    lengths = {
        name: int(rules[name])
        for name in ("gsm_single", "gsm_part", "ucs_single", "ucs_part")
        if name in rules
    }
    counting = sms_text.Counting(rules.get("counting", sms_text.Counting.INTERNATIONAL))
    return sms_text.cut(signature_of(channel) + text, counting, sms_text.Lengths(**lengths))


def clean_value(key: str, value: Any) -> Any:
    """Check a value against the shape of its key. Raises :class:`ValueError` that says what to write."""
    shape = KEYS[key].shape
    if shape == "boolean":
        if not isinstance(value, bool):
            raise ValueError(_("Write true or false."))
    elif shape == "integer_or_days":
        if value != DAYS_IN_MONTH and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ValueError(_("Write a number, or “days_in_month”."))
    elif shape == "integer":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(_("Write a whole number, 0 or more."))
    elif shape == "text":
        if not isinstance(value, str):
            raise ValueError(_("Write a text in quotation marks."))
    elif shape == "words":
        if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
            raise ValueError(_('Write a list of words, such as ["STOP", "R"].'))
    elif shape == "choice":
        if value not in KEYS[key].choices:
            raise ValueError(_("Write one of: %(known)s.") % {"known": ", ".join(KEYS[key].choices)})
    elif shape == "hours":
        _check_hours(value)
    elif shape == "hours_by_region":
        if not isinstance(value, dict):
            raise ValueError(
                _(
                    "Write the hours of each region and its time zones, such as "
                    '{"Florida": {"from": "08:00", "to": "20:00", "zones": ["America/New_York"]}}.'
                )
            )
        for hours in value.values():
            _check_hours(hours)
            _check_zones(hours.get("zones", []))
    return value


def _check_zones(zones: Any) -> None:
    unknown = (
        [zone for zone in zones if zone not in available_timezones()] if isinstance(zones, list) else [zones]
    )
    if unknown:
        raise ValueError(_("Unknown time zone: %(zone)s.") % {"zone": unknown[0]})


def _check_hours(value: Any) -> None:
    try:
        begins, ends = time.fromisoformat(value["from"]), time.fromisoformat(value["to"])
    except (TypeError, KeyError, ValueError):
        raise ValueError(_('Write hours such as {"from": "08:00", "to": "21:00"}.')) from None
    if begins >= ends:
        raise ValueError(_("The first hour must come before the last."))
