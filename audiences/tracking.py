"""Which changes the database records by itself, for the audit trail (``config/audit.py`` tells them)."""

from typing import Any

import pghistory


def tracked(**options: Any) -> Any:
    """A model decorator: every row made, changed or removed is recorded, with who asked for it.

    ``exclude`` names fields that are secret or that only count. The records can never be changed. Not for
    the large tables (touches, attempts, responses): each change writes a row.
    """
    return pghistory.track(
        pghistory.InsertEvent(), pghistory.UpdateEvent(), pghistory.DeleteEvent(), append_only=True, **options
    )
