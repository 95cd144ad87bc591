"""Links in messages: found and stored once a message, written for each person in a moment.

``prepare`` replaces every address in a message by a mark; ``fill`` turns the marks of a rendered message into
this person's addresses. Marks are control characters that survive the rendering of variables in between.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from channels.models import Link
from channels.tokens import Token, TokenKind, seal, seal_short, sealer

MARK, END = "\x02", "\x03"
MARKS = re.compile(f"{MARK}(\\d+){END}")
_IN_HTML = re.compile(r"""(<a\b[^>]*?\bhref\s*=\s*)(["'])(https?://.*?)\2""", re.IGNORECASE | re.DOTALL)
# In plain text an address ends at a space, at Chinese text or punctuation, and before a final full stop.
_IN_TEXT = re.compile(r"https?://[!#-;=?-~]+")
_TRAILING = ".,;:!?)'"
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
LONGEST_URL = 2000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message whose links are marked. ``text`` and ``html`` go through the rendering of variables."""

    campaign_id: int | None
    channel_id: int
    text: str
    html: str
    link_ids: Sequence[int] = field(default=())
    pixel: bool = False

    def fill(self, text: str, html: str, *, touch_id: int, customer_id: int) -> tuple[str, str]:
        """The rendered message with this person's links in the place of the marks, and the pixel at its end."""

        def address(found: re.Match[str]) -> str:
            return link_url(int(found[1]), self.campaign_id, self.channel_id, touch_id, customer_id)

        if self.link_ids:
            text, html = MARKS.sub(address, text), MARKS.sub(address, html)
        if self.pixel and html:
            html = _with_pixel(html, pixel_url(self.campaign_id, self.channel_id, touch_id, customer_id))
        return text, html

    def code(self, link_id: int, touch_id: int, customer_id: int) -> str:
        """This person's end of a link whose beginning, :func:`beginning` of "l", stands in an approved template."""
        return seal_short(
            Token(TokenKind.LINK, self.channel_id, link_id, self.campaign_id or 0, touch_id, customer_id)
        )

    def share(self, text: str, html: str, *, version_id: int, employee_id: int) -> tuple[str, str]:
        """The rendered message with links that all customers of an employee get alike, so that one task serves
        them all. A click on one tells campaign, message and employee, never the person."""

        def address(found: re.Match[str]) -> str:
            return shared_url(int(found[1]), self.campaign_id, self.channel_id, version_id, employee_id)

        return MARKS.sub(address, text), MARKS.sub(address, html)


def prepare(
    campaign_id: int | None,
    channel_id: int,
    text: str,
    html: str = "",
    *,
    pixel: bool = True,
    label: str = "",
) -> Prepared:
    """Mark every link of a message and store where it leads; equal links of a campaign's channel are one row.

    A link that holds a variable (``{…}``) is left as it is: it leads elsewhere for everybody.
    ``pixel`` adds an opening pixel to the HTML part.
    """
    found: dict[str, None] = {}

    def note(url: str) -> bool:
        if "{" in url or "}" in url or len(url) > LONGEST_URL or MARK in url:
            return False
        found.setdefault(url)
        return True

    # Twice over the same text: first to learn the links, so that all of them are stored in one statement.
    _rewrite(text, html, lambda url: url if note(url) else url)
    ids = _store(campaign_id, channel_id, list(found), label)

    def mark(url: str) -> str:
        return f"{MARK}{ids[url]}{END}" if url in ids else url

    marked_text, marked_html = _rewrite(text, html, mark)
    return Prepared(
        campaign_id, channel_id, marked_text, marked_html, tuple(ids.values()), pixel and bool(html)
    )


def marked(text: str) -> str:
    """A plain text with a mark for each of its links that can be tracked, numbered from 0; nothing is stored."""
    numbers = itertools.count()

    def mark(url: str) -> str:
        plain = "{" in url or "}" in url or len(url) > LONGEST_URL
        return url if plain else f"{MARK}{next(numbers)}{END}"

    return _rewrite(text, "", mark)[0]


def found(text: str) -> list[str]:
    """The addresses in a plain text, in order, each once."""
    urls: dict[str, None] = {}
    _rewrite(text, "", lambda url: urls.setdefault(url) or url)
    return list(urls)


def track(
    text: str, html: str, *, campaign_id: int | None, channel_id: int, touch_id: int, customer_id: int
) -> tuple[str, str]:
    """One message for one person, at once. For many people prepare once and fill for each."""
    prepared = prepare(campaign_id, channel_id, text, html)
    return prepared.fill(prepared.text, prepared.html, touch_id=touch_id, customer_id=customer_id)


def _rewrite(text: str, html: str, change: Callable[[str], str]) -> tuple[str, str]:
    def in_text(match: re.Match[str]) -> str:
        url = match[0].rstrip(_TRAILING)
        return change(url) + match[0][len(url) :]

    def in_html(match: re.Match[str]) -> str:
        url = unescape(match[3]).strip()
        changed = change(url)
        return match[0] if changed == url else f"{match[1]}{match[2]}{escape(changed)}{match[2]}"

    return _IN_TEXT.sub(in_text, text), _IN_HTML.sub(in_html, html)


def _store(campaign_id: int | None, channel_id: int, urls: Sequence[str], label: str) -> dict[str, int]:
    """Address → link id."""
    if not urls:
        return {}
    Link.objects.bulk_create(
        [Link(campaign_id=campaign_id, channel_id=channel_id, url=url, label=label) for url in urls],
        ignore_conflicts=True,
    )
    rows = Link.objects.filter(campaign_id=campaign_id, channel_id=channel_id, url__in=urls)
    return dict(rows.values_list("url", "id"))


def _with_pixel(html: str, url: str) -> str:
    image = f'<img src="{url}" width="1" height="1" alt="">'
    end = _BODY_END.search(html)
    return html[: end.start()] + image + html[end.start() :] if end else html + image


def beginning(letter: str) -> str:
    """The fixed part of our addresses: what stands in a template, with a code behind it."""
    return f"{settings.PUBLIC_URL}/{letter}/"


def unsubscribe_code(channel_id: int, campaign_id: int | None, touch_id: int, customer_id: int) -> str:
    return seal_short(Token(TokenKind.UNSUBSCRIBE, channel_id, 0, campaign_id or 0, touch_id, customer_id))


def preference_code(channel_id: int, campaign_id: int | None, touch_id: int, customer_id: int) -> str:
    return seal_short(Token(TokenKind.PREFERENCES, channel_id, 0, campaign_id or 0, touch_id, customer_id))


def _address(letter: str, token: Token, suffix: str = "") -> str:
    return f"{settings.PUBLIC_URL}/{letter}/{seal(token)}{suffix}"


def named_url(url: str, source: str, reference: str) -> str:
    """An address with a post's name in it: two posts of one campaign never share a link, and a shop that keeps
    ``utm_content`` can tell us who came by which. Raises :class:`ValidationError`."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValidationError({"url": _("Give a whole address, such as https://example.com/.")})
    query = [(name, value) for name, value in parse_qsl(parts.query, True) if name != "utm_content"]
    if not any(name == "utm_source" for name, _value in query):
        query.append(("utm_source", source))
    return urlunsplit(parts._replace(query=urlencode([*query, ("utm_content", reference)])))


def link_url(
    link_id: int, campaign_id: int | None, channel_id: int, touch_id: int | None, customer_id: int | None
) -> str:
    return _address(
        "l", Token(TokenKind.LINK, channel_id, link_id, campaign_id or 0, touch_id or 0, customer_id or 0)
    )


def shared_url(
    link_id: int, campaign_id: int | None, channel_id: int, version_id: int, employee_id: int
) -> str:
    return _address(
        "l", Token(TokenKind.SHARED, channel_id, link_id, campaign_id or 0, version_id, employee_id)
    )


def pixel_url(campaign_id: int | None, channel_id: int, touch_id: int | None, customer_id: int | None) -> str:
    token = Token(TokenKind.PIXEL, channel_id, 0, campaign_id or 0, touch_id or 0, customer_id or 0)
    return _address("o", token, ".gif")


def unsubscribe_urls(channel_id: int, campaign_id: int | None) -> Callable[[int, int], str]:
    """(touch, customer) → the RFC 8058 address of a person: a GET asks, a POST withdraws the channel's medium and brand.
    To be used in the thread that made it."""
    head, sealed = f"{settings.PUBLIC_URL}/u/", sealer(TokenKind.UNSUBSCRIBE, channel_id, 0, campaign_id or 0)
    return lambda touch_id, customer_id: head + sealed(touch_id, customer_id)


def preference_url(
    customer_id: int, channel_id: int, campaign_id: int | None = None, touch_id: int | None = None
) -> str:
    """The page where a person chooses by which media each brand may write."""
    return _address(
        "p", Token(TokenKind.PREFERENCES, channel_id, 0, campaign_id or 0, touch_id or 0, customer_id)
    )
