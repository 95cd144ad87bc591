"""What rows say of consent, for any kind that brings it: set-based, by the rules of :mod:`audiences.consent`.

An older event never overrides a newer one. A row without a time may make a first statement or withdraw, but
never grant again what was withdrawn: nobody knows which came first, and any event with a time is newer. A
file lifts no suppression.
"""

from audiences.consent import UNTOLD
from audiences.imports.staging import Staged
from audiences.models import Suppression
from audiences.queries.suppression import BLOCKS
from audiences.suppression import pads

NEWER = """(
    coalesce(s.occurred_at > c.occurred_at, false)
    OR (coalesce(s.occurred_at = c.occurred_at, false) AND s.status = 'withdrawn' AND c.status = 'granted')
    OR (s.occurred_at IS NULL AND s.status = 'withdrawn' AND c.status = 'granted')
)"""
"""Whether what is said (``s``) overrides the consent that stands (``c``)."""

SAME = "(s.customer_id, s.brand_id, s.medium, s.purpose) = (c.customer_id, c.brand_id, c.medium, c.purpose)"

SAID = """
WITH last AS (
    SELECT DISTINCT ON (customer_id, brand_id, medium, purpose)
        line, customer_id, brand_id, medium, purpose, status, source, occurred_at
    FROM {work:said}
    ORDER BY customer_id, brand_id, medium, purpose, occurred_at DESC NULLS LAST, status DESC, line DESC
)
SELECT s.* FROM last s
LEFT JOIN audiences_customer p ON p.id = s.customer_id  -- the newborn are not written yet
LEFT JOIN audiences_consent c USING (customer_id, brand_id, medium, purpose)
WHERE p.erased_at IS NULL AND (c.id IS NULL OR {newer})
"""

WRITE = """
INSERT INTO audiences_consent AS c
    (customer_id, brand_id, medium, purpose, status, source, occurred_at, received_at)
SELECT customer_id, brand_id, medium, purpose, status, source,
    coalesce(occurred_at, CASE status WHEN 'granted' THEN %(untold)s ELSE %(now)s END), %(now)s
FROM {work:consents} ORDER BY customer_id
ON CONFLICT (customer_id, brand_id, medium, purpose) DO UPDATE
SET status = excluded.status, source = excluded.source, occurred_at = excluded.occurred_at,
    received_at = excluded.received_at
WHERE excluded.occurred_at >= c.occurred_at OR excluded.status = 'withdrawn'
"""


def weigh(staged: Staged) -> list[int]:
    """Make ``{work:consents}`` from ``{work:said}``: what would change something; gives whose states to lock.

    ``{work:said}``: line, customer_id, brand_id, medium, purpose, status, source, occurred_at (NULL: not told).
    """
    staged.table("consents", SAID.replace("{newer}", NEWER))
    return [one for (one,) in staged.fetch("SELECT DISTINCT customer_id FROM {work:consents}")]


def write(staged: Staged) -> int:
    """Write the consents, states locked by the caller; grants the suppression list forbids are left out."""
    if Suppression.objects.exists():
        people = "(SELECT DISTINCT customer_id FROM {work:consents} WHERE status = 'granted')"
        staged.counts["grants_suppressed"] = staged.execute(
            f"""
            WITH forbidden AS (
                {BLOCKS.format(identities="audiences_identity")} WHERE i.customer_id IN {people}
            )
            DELETE FROM {{work:consents}} c USING forbidden f
            WHERE c.customer_id = f.customer_id AND c.status = 'granted' AND f.key IN (
                c.purpose || ':' || c.brand_id || ':' || c.medium, c.purpose || ':' || c.brand_id || ':*',
                c.purpose || ':*:' || c.medium, c.purpose || ':*:*'
            )
            """,
            **pads(),
        )
    # Weighed before the states were locked: what was told meanwhile counts too.
    staged.execute(f"DELETE FROM {{work:consents}} s USING audiences_consent c WHERE {SAME} AND NOT {NEWER}")
    return staged.execute(WRITE, untold=UNTOLD)
