"""The daily spend sheet in words, for a group's robot and for a letter. In the language that is active."""

from html import escape

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from channels.robots import Note
from channels.spend_sheet import Line, Sheet, Total
from channels.templatetags.channel_values import in_unit


def note(sheet: Sheet, keyword: str = "") -> Note:
    """Totals, then each account, those with a warning first; at last the address of the whole sheet.

    ``keyword`` stands in the title, since a robot may take only messages that hold it.
    """
    title = _("Daily spend of %(day)s") % {"day": sheet.day}
    if keyword and keyword not in title:
        title = f"{title} · {keyword}"
    lines = [_total(total) for total in sheet.totals] or [
        _("No account has a wallet, a report or a budget yet.")
    ]
    lines += [_line(line) for line in sheet.lines]
    return Note(title, (_link(sheet), *lines))


def _link(sheet: Sheet) -> str:
    url = f"{settings.PUBLIC_URL}/channels/spend/sheet/?day={sheet.day}"
    return "[{}]({})".format(_("Open the sheet"), url)


def more(n: int) -> str:
    """Said in the place of accounts that do not fit into a message."""
    return ngettext("… and %(n)d more line on the sheet", "… and %(n)d more lines on the sheet", n) % {"n": n}


def _total(total: Total) -> str:
    return "**{}** · {}".format(
        _("All accounts, %(unit)s") % {"unit": total.unit},
        " · ".join(
            _amounts(total.unit, total.balance, total.top_up, total.bonus, total.cash, total.from_bonus)
        ),
    )


def _line(line: Line) -> str:
    parts = _amounts(line.unit, line.balance, line.top_up, line.bonus, line.cash, line.from_bonus)
    if line.budget is not None:
        parts.append(_("budget %(amount)s") % {"amount": in_unit(line.budget.amount, line.budget.currency)})
        if line.pace is not None:
            parts.append(_("pace %(share)s") % {"share": f"{line.pace:.0%}"})
    told = f"**{_plain(line.channel.name)}** · {' · '.join(parts)}"
    return f"{told} · ⚠ {' '.join(line.warnings)}" if line.warnings else told


def _amounts(
    unit: str, balance: object, top_up: object, bonus: object, cash: object, from_bonus: object
) -> list[str]:
    told = []
    if balance is not None:
        told.append(_("balance %(amount)s") % {"amount": in_unit(balance, unit)})
    if top_up:
        told.append(_("top-up %(amount)s") % {"amount": in_unit(top_up, unit)})
    if bonus:
        told.append(_("bonus %(amount)s") % {"amount": in_unit(bonus, unit)})
    told.append(_("cash consumption %(amount)s") % {"amount": in_unit(cash, unit)})
    if from_bonus:
        told.append(_("bonus consumption %(amount)s") % {"amount": in_unit(from_bonus, unit)})
    return told


_MARKUP = {ord(mark): " " for mark in "*_`[]()<>#@\n"}


def _plain(name: str) -> str:
    """A name that is no markdown and calls nobody."""
    return name.translate(_MARKUP)


def letter(note: Note) -> tuple[str, str]:
    """(text, HTML) of the same words."""
    plain = [line.replace("**", "") for line in note.lines]
    text = "\r\n\r\n".join([note.title, *(_bare_link(line) for line in plain)])
    rows = "".join(f"<p>{_html(line)}</p>" for line in note.lines)
    return text, f"<html><body><h2>{escape(note.title)}</h2>{rows}</body></html>"


def _bare_link(line: str) -> str:
    if line.startswith("[") and "](" in line:
        words, _sep, url = line[1:-1].partition("](")
        return f"{words}: {url}"
    return line


def _html(line: str) -> str:
    if line.startswith("[") and "](" in line:
        words, _sep, url = line[1:-1].partition("](")
        return f'<a href="{escape(url)}">{escape(words)}</a>'
    bold = escape(line).split("**")
    return "".join(f"<b>{part}</b>" if n % 2 else part for n, part in enumerate(bold))
