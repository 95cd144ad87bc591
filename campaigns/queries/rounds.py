"""Statements over approved ordinals."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

WANTED = """
WITH wanted AS (
    SELECT r.campaign_id, p.channel_id, r.number AS round, t.stage, k.ordinal
    FROM campaigns_round r
    JOIN campaigns_frequencytarget t ON t.phase_id = r.phase_id
    JOIN campaigns_channelplan p ON p.id = t.channel_plan_id AND p.campaign_id = r.campaign_id
    CROSS JOIN LATERAL generate_series(1, t.touches) AS k(ordinal)
    WHERE r.campaign_id = %(campaign)s AND r.number = ANY (%(rounds)s)
)
"""

APPROVE = (
    WANTED
    + """
INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)
SELECT campaign_id, channel_id, round, stage, ordinal, %(version)s FROM wanted
ON CONFLICT (campaign_id, channel_id, round, stage, ordinal) DO UPDATE
SET withdrawn_at = NULL, version = excluded.version
WHERE campaigns_approved_ordinal.withdrawn_at IS NOT NULL
"""
)

WITHDRAW = (
    WANTED
    + """
UPDATE campaigns_approved_ordinal o SET withdrawn_at = %(now)s
WHERE o.campaign_id = %(campaign)s AND o.withdrawn_at IS NULL AND NOT EXISTS (
    SELECT FROM wanted w
    WHERE (w.channel_id, w.round, w.stage, w.ordinal) = (o.channel_id, o.round, o.stage, o.ordinal)
)
"""
)

COUNT = """
SELECT count(*) FROM campaigns_approved_ordinal WHERE campaign_id = %(campaign)s AND withdrawn_at IS NULL
"""


def approve_ordinals(campaign_id: int, rounds: Sequence[int], version: int) -> int:
    """The ordinals of the matrix in these rounds that are not in force come into force."""
    return _run(APPROVE, {"campaign": campaign_id, "rounds": list(rounds), "version": version})


def withdraw_ordinals(campaign_id: int, rounds: Sequence[int], now: dt.datetime) -> int:
    """The ordinals in force that the matrix does not have in these rounds are withdrawn."""
    return _run(WITHDRAW, {"campaign": campaign_id, "rounds": list(rounds), "now": now})


def count_ordinals(campaign_id: int) -> int:
    """How many ordinals of the campaign are in force."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, {"campaign": campaign_id})
        return int(cursor.fetchone()[0])


def _run(statement: str, parameters: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount
