"""What advertising platforms hang on an address: campaign parameters and click ids, kept over our redirect."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

NAMES = frozenset(
    {
        "gclid", "gbraid", "wbraid", "dclid", "fbclid", "msclkid", "ttclid", "twclid", "bd_vid", "qz_gdt", "gdt_vid",
        "wx_traceid", "clickid", "click_id", "callback_param", "xhs_click_id", "mark_id",
    }
)  # fmt: skip
LONGEST, MOST = 300, 12


def of_query(query: Mapping[str, str]) -> dict[str, str]:
    """Those of a request's parameters that are click ids or ``utm_…``."""
    found = {
        name: value
        for name, value in query.items()
        if (name.lower() in NAMES or name.lower().startswith("utm_")) and value and len(value) <= LONGEST
    }
    return dict(list(found.items())[:MOST])


def kept(url: str, ids: Mapping[str, str]) -> str:
    """The address with these parameters added; those it has itself stay as they are."""
    if not ids:
        return url
    parts = urlsplit(url)
    own = {name for name, _value in parse_qsl(parts.query, keep_blank_values=True)}
    more = urlencode({name: value for name, value in ids.items() if name not in own})
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, more)))))
