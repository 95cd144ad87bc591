"""The words of messages on their channels: fields filled per person, links tracked, and checked before approval.

How a field is written and made safe is in ``wording.py``; texts that a provider approved before in ``vendor_templates.py``.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import Medium
from campaigns import vendor_templates
from campaigns.models import Message, MessageVariant, MessageVersion
from campaigns.wording import ADDRESSES, FIELD, LINES, Part, Place, fields_used, parse, render
from channels import links, platform_rules, sms_text
from channels.accounts import personal_links, template_adapter
from channels.models import Channel

# Field → what it is called, what the preview shows, and what the editor offers to stand in.
FIELDS: dict[str, tuple[Any, str, Any]] = {
    "name": (gettext_lazy("name"), "林晓", gettext_lazy("friend")),
    "city": (gettext_lazy("city"), "杭州", gettext_lazy("your city")),
    "province": (gettext_lazy("province"), "浙江", gettext_lazy("your province")),
    "language": (gettext_lazy("language"), "zh", "–"),
}
# Of the campaign's offer: filled where the message goes out, for whom the offer is granted.
OFFER_FIELDS: dict[str, tuple[Any, str]] = {
    "offer.code": (gettext_lazy("code of the offer"), "A7K2-9Q"),
    "offer.value": (gettext_lazy("what the offer gives"), "¥20"),
    "offer.name": (gettext_lazy("name of the offer"), "Birthday gift"),
    "offer.until": (gettext_lazy("last day of the offer"), "2026-12-31"),
}
ATTRIBUTE = "attributes."  # {{attributes.colour|your colour}}: an attribute of the customer

_STRAY = re.compile(r"\{\{|\}\}")
_BARE_ADDRESS = re.compile(r"""(?:href|src|action)\s*=\s*["']?\s*$""", re.IGNORECASE)
_SCRIPT = re.compile(
    r"<\s*(script|iframe|object|embed|form|meta|base|link)\b|\son[a-z]+\s*=|javascript:", re.IGNORECASE
)

# Media whose messages have words of ours; the others are briefed outside (a key word, a KOL post).
WITH_WORDS = frozenset(
    {
        Medium.SMS,
        Medium.EMAIL,
        Medium.WECOM,
        Medium.OFFICIAL_ACCOUNT,
        Medium.APP_PUSH,
        Medium.WEBHOOK,
    }
)
WITH_HTML = frozenset({Medium.EMAIL})
WITH_SUBJECT = frozenset({Medium.EMAIL, Medium.APP_PUSH, Medium.OFFICIAL_ACCOUNT})


@dataclass(frozen=True, slots=True)
class Problem:
    """What stands against a message. ``where`` is subject, text, html or template; errors forbid approval."""

    text: str
    where: str = ""
    variant: str = ""
    error: bool = True
    rule: str = ""
    source: str = ""  # of a platform's rule
    since: date | None = None  # from when that rule holds

    @property
    def rule_label(self) -> Any:
        """The platform's rule in words; '' for rules of our own."""
        known = platform_rules.KEYS.get(self.rule)
        return known.label if known else ""


# Of a campaign: its links, the address to unsubscribe from (touch, customer), and subject, text and html in pieces.
_Marked = tuple[links.Prepared, Callable[[int, int], str], Part, Part, Part]


class Filled(NamedTuple):
    """A message in one person's words. ``variables``: what a provider's own template is filled with."""

    subject: str
    text: str
    html: str
    unsubscribe: str
    variables: dict[str, str]


@dataclass(slots=True)
class PreparedMessage:
    """One variant of one message version on one channel, parsed once and filled for many people."""

    message_version_id: int
    variant: int
    channel_id: int
    brand: str
    template: str
    subject: str
    text: str
    html: str
    fields: tuple[str, ...]  # what ``fill`` wants to know of a person
    pixel: bool = True
    personal: bool = True  # each person has links of their own
    template_links: str = ""  # where the provider sends by template: how links stand in it
    _marked: dict[int | None, _Marked] = field(default_factory=dict)
    _outlines: dict[int | None, vendor_templates.Outline] = field(default_factory=dict)

    def _prepared(self, campaign_id: int | None) -> _Marked:
        marked = self._marked.get(campaign_id)
        if marked is None:
            if self.template_links == vendor_templates.FIXED:  # they stand in it as written
                prepared = links.Prepared(campaign_id, self.channel_id, self.text, self.html)
            else:
                prepared = links.prepare(campaign_id, self.channel_id, self.text, self.html, pixel=self.pixel)
            subject_line = LINES.sub(" ", self.subject).strip()
            marked = self._marked[campaign_id] = (
                prepared,
                links.unsubscribe_urls(self.channel_id, campaign_id),
                parse(subject_line),
                parse(prepared.text),
                parse(prepared.html),
            )
        return marked

    def fill(
        self,
        values: Mapping[str, Any],
        *,
        campaign_id: int | None,
        touch_id: int,
        customer_id: int,
        employee_id: int = 0,
    ) -> "Filled":
        """The words for one person. Links are tracked to this touch, or, where equal messages must stay equal, to
        campaign, message and employee."""
        prepared, unsubscribe_url, subject_part, text_part, html_part = self._prepared(campaign_id)
        unsubscribe = unsubscribe_url(touch_id, customer_id)
        known = dict(values)
        known["unsubscribe"] = unsubscribe
        if "preferences" in self.fields:
            known["preferences"] = links.preference_url(customer_id, self.channel_id, campaign_id, touch_id)
        subject = render(subject_part, known, "subject").strip()
        if self.template_links:
            text, variables = self._templated(values, campaign_id, touch_id, customer_id)
            return Filled(subject, text, "", unsubscribe, variables)
        text, html = render(text_part, known, "text"), render(html_part, known, "html")
        if self.personal:
            text, html = prepared.fill(text, html, touch_id=touch_id, customer_id=customer_id)
        else:
            text, html = prepared.share(
                text, html, version_id=self.message_version_id, employee_id=employee_id
            )
        return Filled(subject, text, html, unsubscribe, self._variables(values) if self.template else {})

    def _variables(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Of a template whose links are not ours to fill: its fields."""
        return {
            piece.name: LINES.sub(" ", str(values.get(piece.name) or piece.fallback)).strip()
            for piece in parse(self.text)
            if isinstance(piece, Place) and piece.name not in ADDRESSES
        }

    def _templated(
        self, values: Mapping[str, Any], campaign_id: int | None, touch_id: int, customer_id: int
    ) -> tuple[str, dict[str, str]]:
        """(the text as the person will read it, variables) of an approved template."""
        prepared = self._prepared(campaign_id)[0]
        outlined = self._outlines.get(campaign_id)
        if outlined is None:
            outlined = self._outlines[campaign_id] = vendor_templates.outline(prepared.text)
        who = (self.channel_id, campaign_id, touch_id, customer_id)
        codes = vendor_templates.Codes(
            lambda link_id: prepared.code(link_id, touch_id, customer_id),
            lambda: links.unsubscribe_code(*who),
            lambda: links.preference_code(*who),
        )
        return vendor_templates.filled(outlined, values, codes)


def prepare(message_version_id: int, variant: int, channel: Channel) -> PreparedMessage:
    """Read one variant once. Raises ``MessageVariant.DoesNotExist``."""
    row = MessageVariant.objects.select_related("version__message").get(
        version_id=message_version_id, number=variant
    )
    return PreparedMessage(
        message_version_id=message_version_id,
        variant=variant,
        channel_id=channel.pk,
        brand=channel.brand.name,
        template=row.version.template,
        subject=row.subject,
        text=row.text,
        html=row.html,
        fields=tuple(fields_used(row.subject, row.text, row.html)),
        personal=personal_links(channel),
        template_links=vendor_templates.links_of(channel, timezone.localdate()),
    )


OF_CUSTOMERS = ("id", "name", "city", "province", "language")
FIELDS_OF_CUSTOMERS = """
SELECT c.id, c.name, c.city, c.province, c.language, CASE WHEN %(attributes)s THEN c.attributes END
FROM audiences_customer c
WHERE c.id = ANY(%(ids)s)
"""


def values_of(customer_ids: Sequence[int], fields: Iterable[str]) -> dict[int, dict[str, Any]]:
    """Customer id → value of each of these fields, in one statement for all of them."""
    wanted = [name for name in fields if name not in ADDRESSES and name not in OFFER_FIELDS]
    if not wanted or not customer_ids:
        return {customer_id: {} for customer_id in customer_ids}
    with_attributes = any(name.startswith(ATTRIBUTE) for name in wanted)
    with connection.cursor() as cursor:
        cursor.execute(FIELDS_OF_CUSTOMERS, {"ids": list(customer_ids), "attributes": with_attributes})
        found = cursor.fetchall()
    plain = [(name, OF_CUSTOMERS.index(name)) for name in wanted if name in FIELDS]
    values: dict[int, dict[str, Any]] = {row[0]: {name: row[at] for name, at in plain} for row in found}
    if with_attributes:
        named = [name for name in wanted if name.startswith(ATTRIBUTE)]
        for pk, *_columns, told in found:
            attributes = json.loads(told) if isinstance(told, str) else told
            values[pk] |= {name: attributes.get(name.removeprefix(ATTRIBUTE)) for name in named}
    return values


def fields_of_versions(version_ids: Iterable[int]) -> set[str]:
    """The fields that these versions use in any of their variants."""
    rows = MessageVariant.objects.filter(version_id__in=list(version_ids)).values_list(
        "subject", "text", "html"
    )
    return {name for row in rows for name in fields_used(*row)}


# Versions -----------------------------------------------------------------------------------------


def newest(message: Message) -> MessageVersion | None:
    return message.versions.order_by("-number").first()


def digest(version: MessageVersion) -> str:
    """16 hex digits over the words of a version and all its variants."""
    rows = version.variants.order_by("number").values_list(
        "number", "name", "weight", "subject", "text", "html"
    )
    text = json.dumps([version.template, list(rows)], ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def freeze(version_ids: Iterable[int], now: datetime) -> int:
    """What an approval does to the words it approved; returns how many were not frozen before."""
    return MessageVersion.objects.filter(pk__in=list(version_ids), frozen_at=None).update(frozen_at=now)


# Checking -----------------------------------------------------------------------------------------


def sample(name: str) -> str:
    """What the preview shows for a field."""
    if name in FIELDS:
        return FIELDS[name][1]
    if name in OFFER_FIELDS:
        return OFFER_FIELDS[name][1]
    if name in ADDRESSES:
        return "https://…/u/…"
    return ""


def preview(subject: str, text: str, html: str) -> tuple[str, str, str]:
    """Subject, text and html with sample values; links stay as written."""
    values = _samples(subject, text, html)
    return (
        render(parse(subject), values, "subject"),
        render(parse(text), values, "text"),
        render(parse(html), values, "html"),
    )


def problems_of_words(medium: str, subject: str, text: str, html: str) -> list[Problem]:
    """What is wrong with a variant's words on any channel of a medium; platform rules come on top."""
    found: list[Problem] = []
    if medium in WITH_WORDS and not text.strip() and not (medium in WITH_HTML and html.strip()):
        found.append(Problem(_("It has no words yet."), "text"))
    if medium == Medium.EMAIL and not subject.strip():
        found.append(Problem(_("An email needs a subject."), "subject"))
    if medium == Medium.EMAIL and html.strip() and not text.strip():
        found.append(
            Problem(
                _("There is HTML but no plain text: readers without HTML, and filters, expect one."),
                "text",
                error=False,
            )
        )
    for where, part in (("subject", subject), ("text", text), ("html", html)):
        found += _problems_of_fields(where, part)
    if medium in WITH_HTML and _SCRIPT.search(html):
        found.append(
            Problem(
                _("Scripts, forms and frames do not work in email and make filters refuse it: remove them."),
                "html",
            )
        )
    if medium == Medium.EMAIL and "unsubscribe" not in fields_used(text, html):
        found.append(
            Problem(
                _("It has no {{unsubscribe}}: without a visible way out people complain instead."),
                "text",
                error=False,
            )
        )
    return found


def _problems_of_fields(where: str, part: str) -> list[Problem]:
    found = []
    for piece in parse(part):
        if not isinstance(piece, Place):
            continue
        if piece.name in OFFER_FIELDS:
            continue  # a person without an offer gets no message: nothing stands in
        if piece.name not in FIELDS and piece.name not in ADDRESSES and not piece.name.startswith(ATTRIBUTE):
            found.append(
                Problem(
                    _("There is no field %(field)s. Known: %(known)s.")
                    % {
                        "field": piece.source,
                        "known": ", ".join([*FIELDS, *OFFER_FIELDS, *ADDRESSES, ATTRIBUTE + "…"]),
                    },
                    where,
                )
            )
        elif not piece.fallback and piece.name not in ADDRESSES:
            found.append(
                Problem(
                    _(
                        "%(field)s stays empty for people who have none; write {{%(name)s|…}} to say what stands in."
                    )
                    % {"field": piece.source, "name": piece.name},
                    where,
                    error=False,
                )
            )
    if _STRAY.search(FIELD.sub("", part)):
        found.append(Problem(_("There is a “{{” or “}}” that belongs to no field."), where))
    if where == "html":
        pieces = parse(part)
        for before, piece in zip(pieces, pieces[1:], strict=False):
            if (
                isinstance(piece, Place)
                and isinstance(before, str)
                and piece.name not in ADDRESSES
                and _BARE_ADDRESS.search(before)
            ):
                found.append(
                    Problem(
                        _("An address cannot begin with a field: write https://… before %(field)s.")
                        % {"field": piece.source},
                        where,
                    )
                )
    return found


def check(version: MessageVersion, channel: Channel, on: date, until: date | None = None) -> list[Problem]:
    """Everything that stands against a version on a channel, variant by variant: on a day, or by the rules of any day
    from it ``until`` another, each problem once."""
    found: dict[tuple[str, str, str, str], Problem] = {}
    for day in platform_rules.ranges(channel, on, until or on):
        for problem in _check(version, channel, day):
            found.setdefault((problem.variant, problem.where, problem.rule, problem.text), problem)
    return list(found.values())


def _check(version: MessageVersion, channel: Channel, on: date) -> list[Problem]:
    found: list[Problem] = []
    variants = list(version.variants.order_by("number"))
    if not variants:
        return [Problem(_("It has no words yet."), "text")]
    if not any(variant.weight > 0 for variant in variants):
        found.append(Problem(_("Every variant has weight 0: nobody would get any of them."), "weight"))
    by_template = platform_rules.is_for_notices(channel) or template_adapter(channel) is not None
    if by_template and not version.template:
        found.append(Problem(_("This channel sends template messages: enter the template's id."), "template"))
    for variant in variants:
        found += check_words(channel, variant.subject, variant.text, variant.html, on, variant.name)
    return found


def check_words(
    channel: Channel, subject: str, text: str, html: str, on: date, variant: str = ""
) -> list[Problem]:
    """One variant's words: our own rules, then those of the platform, judged with sample values filled in."""
    found = problems_of_words(channel.medium, subject, text, html)
    if not personal_links(channel) and (used := fields_used(subject, text, html)):
        found.append(
            Problem(
                _(
                    "Messages here are sent as one to many: with {{%(name)s}} each person gets another text, and needs"
                    " a message, or a task of an employee, of their own. Take it out if you can."
                )
                % {"name": used[0]},
                "text",
                error=False,
            )
        )
    known = {(problem.where, problem.rule) for problem in found}
    empty = any(problem.where in ("text", "subject") and problem.error for problem in found)
    subject, text_shown, html = _as_sent(channel, subject, text, html, on)
    for violation in (
        *platform_rules.check_message(channel, subject, text_shown, html, on),
        *vendor_templates.check(channel, text, on),
    ):
        if empty and violation.rule in ("text", "subject_required"):
            continue  # said already
        if (violation.where, violation.rule) not in known:
            found.append(
                Problem(
                    violation.text,
                    violation.where,
                    rule=violation.rule,
                    source=violation.source,
                    since=violation.since,
                    error=violation.error,
                )
            )
    return [replace(problem, variant=variant) for problem in found]


def _as_sent(channel: Channel, subject: str, text: str, html: str, on: date) -> tuple[str, str, str]:
    """A preview as it leaves this channel: a template's links with example codes."""
    read = preview(subject, text, html)
    told = vendor_templates.shown(channel, text, _samples(text), on)
    return (read[0], told.text, read[2]) if told else read


def _samples(*texts: str) -> dict[str, str]:
    return {name: sample(name) for name in fields_used(*texts)}


def parts(channel: Channel, text: str, on: date) -> sms_text.Cut:
    """How an SMS is cut and billed, signature included, with sample values filled in."""
    return platform_rules.cut_message(channel, _as_sent(channel, "", text, "", on)[1], on)


def needs_words(channel: Channel) -> bool:
    """Whether a channel cannot send without a message of ours: a manual one exports a list and may."""
    return channel.medium in WITH_WORDS and channel.adapter != "manual"


def channels_of(message: Message) -> list[Channel]:
    """Channels that could carry a message: of its medium and brand, not archived."""
    return list(
        Channel.objects.filter(medium=message.medium, brand=message.brand)
        .exclude(state=Channel.State.ARCHIVED)
        .select_related("brand")
    )


@dataclass(frozen=True, slots=True)
class Preview:
    """A variant as a person with sample values would see it on a channel."""

    variant: MessageVariant
    subject: str
    text: str
    html: str
    signature: str
    cut: sms_text.Cut | None  # of text messages
    template: vendor_templates.Shown | None = None  # how it has to read at a provider that approves texts


def previews(version: MessageVersion, channel: Channel | None, on: date) -> list[Preview]:
    """All variants of a version, filled with sample values; counted and cut where the channel bills by part."""
    found = []
    for variant in version.variants.order_by("number"):
        words = (variant.subject, variant.text, variant.html)
        subject, text, html = _as_sent(channel, *words, on) if channel else preview(*words)
        billed = channel is not None and channel.medium == Medium.SMS
        found.append(
            Preview(
                variant,
                subject,
                text,
                html,
                platform_rules.signature_of(channel) if channel and billed else "",
                parts(channel, variant.text, on) if channel and billed else None,
                vendor_templates.shown(channel, variant.text, _samples(variant.text), on)
                if channel
                else None,
            )
        )
    return found
