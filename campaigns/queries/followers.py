"""What campaigns do with the rows of a customer who merges, is parted again, or is erased."""

from datetime import datetime

from django.db import connection

CANCEL = """
WITH ended AS (
    UPDATE campaigns_member SET state = 'ended', reason = 'merged', state_at = %(now)s
    WHERE customer_id = %(customer)s AND state IN ('active', 'waiting')
)
UPDATE campaigns_touch SET state = 'released', reason = 'merged', deferred = '', state_at = %(now)s
WHERE customer_id = %(customer)s AND state = 'planned'
"""


def cancel(customer_id: int, now: datetime) -> int:
    """Unsent touches of an absorbed customer are let go, and the member ends."""
    return _run(CANCEL, customer_id, now)


RESTORE = """
WITH reopened AS (
    UPDATE campaigns_member m SET state = 'active', reason = '', state_at = %(now)s
    FROM campaigns_campaign c
    WHERE m.customer_id = %(customer)s AND m.state = 'ended' AND m.reason = 'merged'
      AND c.id = m.campaign_id AND c.state IN ('scheduled', 'running', 'paused')
)
UPDATE campaigns_touch t SET state = 'planned', reason = '', state_at = %(now)s
FROM campaigns_campaign c
WHERE t.customer_id = %(customer)s AND t.state = 'released' AND t.reason = 'merged' AND t.deadline_at > %(now)s
  AND c.id = t.campaign_id AND c.state IN ('scheduled', 'running', 'paused')
"""


def restore(customer_id: int, now: datetime) -> int:
    """What a merge let go and is not overdue is planned again, in campaigns that still run."""
    return _run(RESTORE, customer_id, now)


ERASE = """
WITH ended AS (
    UPDATE campaigns_member SET state = 'ended', reason = 'erased', state_at = %(now)s
    WHERE customer_id = %(customer)s AND state IN ('active', 'waiting')
),
tasks AS (
    UPDATE campaigns_peopletask SET title = '', note = '', state = CASE state WHEN 'open' THEN 'expired' ELSE state END
    WHERE customer_id = %(customer)s
),
responses AS (
    UPDATE campaigns_response SET detail = '{}' WHERE customer_id = %(customer)s AND detail <> '{}'
),
attempts AS (
    UPDATE campaigns_attempt SET text = '' WHERE customer_id = %(customer)s AND text <> ''
)
UPDATE campaigns_touch SET state = 'gap', reason = 'erased', deferred = '', state_at = %(now)s
WHERE customer_id = %(customer)s AND state = 'planned'
"""


def erase(customer_id: int, now: datetime) -> int:
    """Nothing more is sent, and words about or by the person go; figures stay without a name."""
    return _run(ERASE, customer_id, now)


def _run(statement: str, customer_id: int, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"customer": customer_id, "now": now})
        return cursor.rowcount
