"""Versions of daily reports in SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

# A row that says the same as the newest version is no version of its own.
STORE = """
WITH told AS (
    SELECT * FROM unnest(
        %(day)s::date[], %(placement)s::text[], %(currency)s::text[], %(spend)s::numeric[], %(exposures)s::bigint[],
        %(clicks)s::bigint[], %(reach)s::bigint[], %(frequency)s::float8[], %(conversions)s::numeric[]
    ) AS told (day, placement, currency, spend, exposures, clicks, reach, frequency, conversions)
),
compared AS (
    SELECT told.*, known.version, known.campaign_id AS known_campaign,
           coalesce(
               (SELECT audience.campaign_id FROM channels_platformaudience audience
                WHERE audience.channel_id = %(channel)s AND audience.flight_reference = told.placement
                  AND told.placement <> '' LIMIT 1),
               (SELECT post.campaign_id FROM channels_kolplacement post
                JOIN channels_kolaccount account ON account.id = post.account_id
                WHERE account.channel_id = %(channel)s AND told.placement ~ '^kol-[0-9]{1,18}$'
                  AND post.id = CASE WHEN told.placement ~ '^kol-[0-9]{1,18}$' THEN substr(told.placement, 5)::bigint END)
           ) AS campaign_id,
           known.id IS NULL OR (told.currency, round(told.spend, 4), told.exposures, told.clicks, told.reach,
               told.frequency, round(told.conversions, 4))
               IS DISTINCT FROM (known.currency, known.spend, known.exposures, known.clicks, known.reach,
               known.frequency, known.conversions) AS differs
    FROM told LEFT JOIN LATERAL (
        SELECT * FROM channels_dailyreport report
        WHERE report.channel_id = %(channel)s AND report.day = told.day AND report.placement = told.placement
        ORDER BY report.version DESC LIMIT 1
    ) known ON true
)
INSERT INTO channels_dailyreport (
    channel_id, day, placement, version, campaign_id, currency, spend, exposures, clicks, reach, frequency, conversions,
    source, fetched_at
)
SELECT %(channel)s, day, placement, coalesce(version, 0) + 1, coalesce(campaign_id, known_campaign), currency, spend,
       exposures, clicks, reach, frequency, conversions, %(source)s, %(now)s
FROM compared WHERE differs
ON CONFLICT (channel_id, day, placement, version) DO NOTHING
"""


def store(channel_id: int, columns: Mapping[str, Sequence[Any]], source: str, now: datetime) -> int:
    """The rows of one channel that differ from their newest version, as the next one."""
    with connection.cursor() as cursor:
        params: dict[str, Any] = {"channel": channel_id, "source": source, "now": now, **columns}
        cursor.execute(STORE, params)
        return cursor.rowcount
