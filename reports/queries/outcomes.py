"""What members bought, treated against held out; and journeys from contacts to orders."""

# Revenue of an order on a basis, in its own currency.
REVENUE = """
CASE %(basis)s WHEN 'paid' THEN o.paid
               WHEN 'net' THEN o.paid - o.returned
               ELSE (o.paid - o.returned) * CASE WHEN o.paid > 0 THEN 1 - o.tax / o.paid ELSE 1 END END
"""

# One row per person (survivor). People whose rows fell into different sides or arms leave, counted apart.
# Only orders from entry to the end of the measured time count: intention to treat, every member.
LIFT = (
    """
WITH person AS MATERIALIZED (
    SELECT coalesce(c.merged_into_id, c.id) AS person, min(m.entered_at) AS entered_at,
           bool_or(m.held_out) AS held_out, bool_and(m.held_out) AS all_held_out
    FROM campaigns_member m
    JOIN audiences_customer c ON c.id = m.customer_id
    WHERE m.campaign_id = %(campaign)s
    GROUP BY 1
), own AS MATERIALIZED (
    -- Whose rows are a person's: their own, and those of customers they absorbed.
    SELECT person, person AS customer_id FROM person
    UNION ALL
    SELECT p.person, c.id FROM audiences_customer c JOIN person p ON p.person = c.merged_into_id
    WHERE c.merged_into_id IS NOT NULL
), bought AS MATERIALIZED (
    SELECT p.person, count(*) AS orders, sum("""
    + REVENUE
    + """) AS revenue
    FROM audiences_order o
    JOIN own USING (customer_id)
    JOIN person p ON p.person = own.person
    WHERE o.placed_at >= greatest(p.entered_at, %(start)s) AND o.placed_at < %(end)s AND o.currency = %(currency)s
    GROUP BY 1
)
SELECT p.held_out, count(*) AS people, count(b.person) AS buyers, coalesce(sum(b.revenue), 0)::float8 AS revenue,
       coalesce(sum(b.revenue::float8 ^ 2), 0) AS squares, coalesce(sum(b.orders), 0) AS orders
FROM person p
LEFT JOIN bought b USING (person)
WHERE p.held_out = p.all_held_out
GROUP BY 1
"""
)

CROSSED = """
SELECT count(*) FROM (
    SELECT 1 FROM campaigns_member m
    JOIN audiences_customer c ON c.id = m.customer_id
    WHERE m.campaign_id = %(campaign)s
    GROUP BY coalesce(c.merged_into_id, c.id)
    HAVING bool_or(m.held_out) <> bool_and(m.held_out)
) crossed
"""

# Journeys: contacts of the person of all campaigns before each order, each within the window of its own
# campaign. So every campaign sees the same journey, and credits of all of them together never exceed the order.
CREDIT = (
    """
WITH scope AS MATERIALIZED (
    SELECT DISTINCT coalesce(c.merged_into_id, c.id) AS person
    FROM campaigns_member m
    JOIN audiences_customer c ON c.id = m.customer_id
    WHERE (%(campaign)s::bigint IS NULL OR m.campaign_id = %(campaign)s)
), own AS MATERIALIZED (
    -- Whose rows are a person's: their own, and those of customers they absorbed.
    SELECT person, person AS customer_id FROM scope
    UNION ALL
    SELECT p.person, c.id FROM audiences_customer c JOIN scope p ON p.person = c.merged_into_id
    WHERE c.merged_into_id IS NOT NULL
), bought AS MATERIALIZED (
    SELECT o.id, own.person, o.placed_at, """
    + REVENUE
    + """ AS revenue
    FROM audiences_order o
    JOIN own USING (customer_id)
    WHERE o.placed_at >= %(start)s AND o.placed_at < %(end)s AND o.currency = %(currency)s
), contact AS MATERIALIZED (
    SELECT own.person, a.id, a.touch_id, a.campaign_id, a.channel_id,
           coalesce(a.sent_at, a.started_at) AS at, make_interval(days => p.attribution_days) AS lasting
    FROM campaigns_attempt a
    JOIN campaigns_campaign p ON p.id = a.campaign_id
    JOIN own USING (customer_id)
    WHERE a.state IN ('accepted', 'delivered')
      AND coalesce(a.sent_at, a.started_at) >= %(start)s - make_interval(days => p.attribution_days)
      AND coalesce(a.sent_at, a.started_at) < %(end)s
), journey AS (
    SELECT b.id AS order_id, b.revenue, k.touch_id, k.campaign_id, k.channel_id,
           row_number() OVER (PARTITION BY b.id ORDER BY k.at, k.id) AS position,
           count(*) OVER (PARTITION BY b.id) AS touches
    FROM bought b
    JOIN contact k ON k.person = b.person AND k.at < b.placed_at AND k.at >= b.placed_at - k.lasting
), credit AS (
    SELECT order_id, campaign_id, channel_id, touch_id, revenue,
           CASE %(model)s WHEN 'first' THEN CASE WHEN position = 1 THEN 1.0 ELSE 0 END
                          WHEN 'last' THEN CASE WHEN position = touches THEN 1.0 ELSE 0 END
                          ELSE 1.0 / touches END AS share
    FROM journey
)
INSERT INTO reports_attributioncredit (run_id, order_id, campaign_id, channel_id, touch_id, share, amount)
SELECT %(run)s, order_id, campaign_id, channel_id, touch_id, share, round(revenue * share, 6)
FROM credit
WHERE share > 0 AND (%(campaign)s::bigint IS NULL OR campaign_id = %(campaign)s)
"""
)

ORDERS_IN_SCOPE = (
    """
WITH scope AS MATERIALIZED (
    SELECT DISTINCT coalesce(c.merged_into_id, c.id) AS person
    FROM campaigns_member m
    JOIN audiences_customer c ON c.id = m.customer_id
    WHERE (%(campaign)s::bigint IS NULL OR m.campaign_id = %(campaign)s)
), own AS MATERIALIZED (
    -- Whose rows are a person's: their own, and those of customers they absorbed.
    SELECT person, person AS customer_id FROM scope
    UNION ALL
    SELECT p.person, c.id FROM audiences_customer c JOIN scope p ON p.person = c.merged_into_id
    WHERE c.merged_into_id IS NOT NULL
)
SELECT count(*) FILTER (WHERE o.currency = %(currency)s), coalesce(sum("""
    + REVENUE
    + """) FILTER (WHERE o.currency = %(currency)s), 0),
       count(*) FILTER (WHERE o.currency <> %(currency)s)
FROM audiences_order o
JOIN own USING (customer_id)
WHERE o.placed_at >= %(start)s AND o.placed_at < %(end)s
"""
)

CREDIT_BY_CHANNEL = """
SELECT channel_id, count(DISTINCT order_id) AS orders, sum(share) AS conversions, sum(amount) AS revenue
FROM reports_attributioncredit WHERE run_id = %(run)s
GROUP BY 1 ORDER BY 4 DESC
"""

# Everybody: the brand's customers, those who ever bought from it or were contacted by this campaign.
AUDIENCE_AGAINST_REST = """
WITH targeted AS MATERIALIZED (
    SELECT DISTINCT coalesce(c.merged_into_id, c.id) AS person
    FROM campaigns_touch t
    JOIN audiences_customer c ON c.id = t.customer_id
    WHERE t.campaign_id = %(campaign)s AND t.state IN ('sent', 'delivered')
), everybody AS (
    SELECT person FROM targeted
    UNION
    SELECT coalesce(c.merged_into_id, c.id)
    FROM audiences_order o
    JOIN audiences_customer c ON c.id = o.customer_id
    WHERE o.brand_id = %(brand)s
), spent AS MATERIALIZED (
    SELECT coalesce(c.merged_into_id, c.id) AS person, sum(o.paid) AS paid
    FROM audiences_order o
    JOIN audiences_customer c ON c.id = o.customer_id
    WHERE o.placed_at >= %(start)s AND o.placed_at < %(end)s AND o.brand_id = %(brand)s
    GROUP BY 1
), responded AS MATERIALIZED (
    SELECT DISTINCT coalesce(c.merged_into_id, c.id) AS person
    FROM campaigns_response r
    JOIN audiences_customer c ON c.id = r.customer_id
    WHERE r.campaign_id = %(campaign)s AND NOT r.machine
      AND r.kind NOT IN ('exposure', 'delivered', 'opt_out', 'complaint')
)
SELECT (t.person IS NOT NULL) AS targeted, count(*) AS people, coalesce(sum(s.paid), 0) AS paid,
       count(r.person) AS responding
FROM everybody e
LEFT JOIN targeted t USING (person)
LEFT JOIN spent s USING (person)
LEFT JOIN responded r USING (person)
GROUP BY 1
"""
