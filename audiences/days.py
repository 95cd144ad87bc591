"""Days of the installation's own zone: those that quotas, tasks, wallets and reports count by, whoever looks at them."""

import datetime as dt

from django.utils import timezone

ONE = dt.timedelta(days=1)


def day_of(now: dt.datetime) -> dt.date:
    """The day ``now`` is in."""
    return timezone.localdate(now, timezone.get_default_timezone())


def begins(day: dt.date) -> dt.datetime:
    """Midnight at its beginning, in UTC."""
    return dt.datetime.combine(day, dt.time.min, tzinfo=timezone.get_default_timezone()).astimezone(dt.UTC)
