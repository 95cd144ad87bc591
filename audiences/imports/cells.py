"""What a cell of each column kind may look like, in SQL: its value, or NULL where it cannot be one.

Every expression is given ``v``, the SQL of the trimmed cell (NULL when empty).
"""

import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from psycopg.sql import quote

from audiences.identity import EMAIL, MAINLAND_MOBILE, PHONE_DROPPED, PHONE_FROM, PHONE_TO
from audiences.registers import ImportColumn

YES = ("1", "y", "yes", "true", "t", "on", "是", "有", "同意", "已同意", "√", "✓")
NO = ("0", "n", "no", "false", "f", "off", "否", "无", "不同意", "未同意", "拒绝", "×", "✗")

TYPES: Mapping[str, str] = {
    "text": "text",
    "identifier": "text",
    "phone": "text",
    "email": "text",
    "zone": "text",
    "integer": "bigint",
    "decimal": "numeric",
    "datetime": "timestamptz",
    "date": "date",
    "boolean": "boolean",
    "json": "jsonb",
}

REASONS: Mapping[str, Any] = {
    "text": _("too long"),
    "identifier": _("too long, or has characters that cannot be seen"),
    "phone": _("not a phone number"),
    "email": _("not an e-mail address"),
    "zone": _("not a time zone such as Asia/Shanghai"),
    "integer": _("not a whole number"),
    "decimal": _("not a number such as 1234.50"),
    "datetime": _("not a time such as 2026-03-01 12:30"),
    "date": _("not a date such as 2026-03-01"),
    "boolean": _("neither yes nor no"),
    "json": _("not JSON"),
    "choice": _("none of: %(choices)s"),
    "missing": _("missing"),
}


def trimmed(column: str) -> str:
    """The SQL of a raw cell without the space around it, NULL when nothing is left."""
    return f"nullif(btrim({column}, E' \\t\\r\\n\\u00a0\\u3000\\ufeff'), '')"


def value(column: ImportColumn, v: str) -> str:
    """The SQL of the typed value of a cell."""
    if column.choices or column.synonyms:
        return _choice(column, v)
    if column.kind == "identifier":
        return f"CASE WHEN length({v}) <= {column.longest} AND {v} !~ '[\\x01-\\x1f\\x7f]' THEN {v} END"
    if column.kind == "text":
        return f"CASE WHEN length({v}) <= {column.longest} THEN {v} END"
    return _VALUES[column.kind](v)


def never_bad(column: ImportColumn) -> bool:
    """Whether any text is good: then there is nothing to check."""
    return column.kind == "text" and not column.choices and column.longest >= 131_072


def reason(column: ImportColumn) -> str:
    """Why a cell of this column was refused, in the language of the moment."""
    if column.choices:
        return str(REASONS["choice"]) % {"choices": ", ".join(column.choices)}
    return str(REASONS[column.kind])


def _choice(column: ImportColumn, v: str) -> str:
    known = {choice.lower(): choice for choice in column.choices} | dict(column.synonyms)
    cases = " ".join(f"WHEN {literal(cell)} THEN {literal(choice)}" for cell, choice in known.items())
    return f"CASE lower({v}) {cases} END"


def _phone(v: str) -> str:
    """Mainland mobiles; any other number is normalised by :func:`audiences.identity.phone` afterwards."""
    digits = f"translate({v}, {literal(PHONE_FROM + PHONE_DROPPED)}, {literal(PHONE_TO)})"
    return f"""CASE WHEN {v} ~ '^1[3-9][0-9]{{9}}$' THEN '+86' || {v}
        WHEN {digits} ~ {literal(MAINLAND_MOBILE)} THEN '+86' || right({digits}, 11) END"""


def _email(v: str) -> str:
    return f"CASE WHEN length({v}) <= 254 AND lower({v}) ~ {literal(EMAIL)} THEN lower({v}) END"


def _number(v: str) -> str:
    """Without the thousands commas and the currency sign people write; a decimal comma is refused."""
    plain = f"""CASE WHEN {v} ~ '^[+-]?[¥￥$€£]?[0-9]{{1,3}}(,[0-9]{{3}})+([.][0-9]*)?$'
        THEN replace({v}, ',', '') ELSE {v} END"""
    return f"translate({plain}, '¥￥$€£', '')"


def _decimal(v: str) -> str:
    return f"""CASE WHEN {v} ~ '^[+-]?[0-9]{{1,14}}([.][0-9]{{0,12}})?$' THEN {v}::numeric
        WHEN {_number(v)} ~ '^[+-]?([0-9]{{1,14}}([.][0-9]{{0,12}})?|[.][0-9]{{1,12}})$' THEN ({_number(v)})::numeric END"""


def _integer(v: str) -> str:
    return f"""CASE WHEN {v} ~ '^[+-]?[0-9]{{1,18}}$' THEN {v}::bigint
        WHEN {_number(v)} ~ '^[+-]?[0-9]{{1,14}}([.]0*)?$' THEN ({_number(v)})::numeric::bigint END"""


def _day(v: str) -> str:
    return f"translate({v}, '年月/.日', '----')"


def _date(v: str) -> str:
    plain = f"regexp_replace({_day(v)}, '[ T]00:00(:00([.]0+)?)?$', '')"
    good = f"{plain} ~ '^(18|19|20|21)[0-9]{{2}}(-[0-9]{{1,2}}-[0-9]{{1,2}}|[0-9]{{4}})$'"
    # The usual form first, without a regular expression: those took a third of the typing of a load.
    return f"""CASE WHEN {v} LIKE '____-__-__' AND {v} >= '1800' AND {v} < '2200' AND pg_input_is_valid({v}, 'date')
        THEN ({v})::date
        WHEN {good} AND pg_input_is_valid({plain}, 'date') THEN ({plain})::date END"""


def _datetime(v: str) -> str:
    # A point is also in the seconds, so only the day's part is rewritten.
    plain = f"({_day(f'left({v}, 11)')} || substr({v}, 12))"
    good = (
        f"{plain} ~ '^(19|20|21)[0-9]{{2}}-?[0-9]{{1,2}}-?[0-9]{{1,2}}"
        "([ T]+[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?$'"
    )
    # The usual forms first, known by what is left of them without their digits: no regular expression.
    usual = f"""{v} LIKE '____-__-__%%' AND {v} >= '1900' AND {v} < '2200'
        AND translate({v}, '0123456789', '') IN ({_FORMS_OF_MOMENTS}) AND pg_input_is_valid({v}, 'timestamptz')"""
    return f"""CASE WHEN {usual} THEN ({v})::timestamptz
        WHEN {good} AND pg_input_is_valid({plain}, 'timestamptz') THEN {plain}::timestamptz END"""


_FORMS_OF_MOMENTS = ", ".join(
    f"'--{between}::{fraction}{zone}'"
    for between in (" ", "T")
    for fraction in ("", ".")
    for zone in ("", "Z", "+", "-", "+:", "-:")
)


def _boolean(v: str) -> str:
    yes, no = (", ".join(map(literal, words)) for words in (YES, NO))
    return f"CASE WHEN lower({v}) IN ({yes}) THEN true WHEN lower({v}) IN ({no}) THEN false END"


def _json(v: str) -> str:
    return f"CASE WHEN pg_input_is_valid({v}, 'jsonb') THEN {v}::jsonb END"


def _zone(v: str) -> str:
    zones = ", ".join(literal(zone) for zone in sorted(zoneinfo.available_timezones()))
    return f"CASE WHEN {v} IN ({zones}) THEN {v} END"


_VALUES: Mapping[str, Callable[[str], str]] = {
    "phone": _phone,
    "email": _email,
    "zone": _zone,
    "integer": _integer,
    "decimal": _decimal,
    "datetime": _datetime,
    "date": _date,
    "boolean": _boolean,
    "json": _json,
}


def literal(text: str) -> str:
    """A text as an SQL literal, for a statement that is run with parameters."""
    return quote(text).replace("%", "%%")
