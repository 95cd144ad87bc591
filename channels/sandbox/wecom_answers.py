"""What the WeCom API answers: a good answer, an errcode, a page."""

from typing import Any


class Refused(Exception):
    """An errcode other than 0."""

    def __init__(self, code: int, text: str, **fields: Any) -> None:
        super().__init__(text)
        self.answer = {"errcode": code, "errmsg": text, **fields}


def ok(**fields: Any) -> dict[str, Any]:
    return {"errcode": 0, "errmsg": "ok", **fields}


def page_of(rows: list[Any], body: dict[str, Any], most: int, usual: int) -> tuple[list[Any], str]:
    """One page and the cursor of the next, "" at the end."""
    try:
        limit, start = int(body.get("limit") or usual), int(body.get("cursor") or 0)
    except ValueError:
        raise Refused(40058, "limit or cursor is not valid") from None
    if not 1 <= limit <= most:
        raise Refused(40058, f"limit must be 1 to {most}")
    end = start + limit
    return rows[start:end], str(end) if end < len(rows) else ""
