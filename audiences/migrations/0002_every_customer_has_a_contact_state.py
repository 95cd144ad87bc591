"""What must hold of customers whoever writes them, kept by the database.

- a customer has a bucket, a sort key and a contact state from birth;
- a merge pointer names a survivor, never another absorbed customer;
- consent rows are mirrored into the contact state, and every change of one is kept.

All of it works on whole statements where a load writes many rows at once.
"""

import hashlib
from typing import Any

from django.conf import settings
from django.db import migrations, models

# The seed makes a bucket unguessable from the id. It is derived once, when the installation is born; the
# function keeps it, so a dump carries it along and a customer's bucket never moves.
BUCKET = """
CREATE FUNCTION audiences_bucket(customer_id bigint) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    (((hashint8extended(customer_id, {seed}) % 10000) + 10000) % 10000)::smallint;
"""
NO_BUCKET = "DROP FUNCTION audiences_bucket(bigint);"

# The common Chinese characters stand in GB 18030 in the order of their pinyin; without ICU that is the
# nearest to how people look for a name.
NAME_SORT = """
CREATE FUNCTION audiences_name_sort(name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURN
    left(encode(convert_to(left(lower(btrim(name)), 50), 'GB18030'), 'hex'), 200);
"""
NO_NAME_SORT = "DROP FUNCTION audiences_name_sort(text);"

# Loads give both themselves, and then these row triggers cost nothing.
BIRTH = """
CREATE FUNCTION audiences_complete_customer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.bucket := audiences_bucket(NEW.id);
    END IF;
    NEW.name_sort := audiences_name_sort(NEW.name);
    RETURN NEW;
END $$;
CREATE TRIGGER customer_is_completed BEFORE INSERT ON audiences_customer
FOR EACH ROW WHEN (NEW.bucket = 0 OR (NEW.name_sort = '' AND NEW.name <> ''))
EXECUTE FUNCTION audiences_complete_customer();
CREATE TRIGGER customer_is_renamed BEFORE UPDATE OF name ON audiences_customer
FOR EACH ROW WHEN (NEW.name IS DISTINCT FROM OLD.name)
EXECUTE FUNCTION audiences_complete_customer();

CREATE FUNCTION audiences_bear_contact_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audiences_contactstate
        (customer_id, allowed, blocked, erased, absorbed, recent_attempts, recent_channels, recent_at)
    SELECT id, '{}', '{}', erased_at IS NOT NULL, merged_into_id IS NOT NULL, '{}', '{}', '{}' FROM born;
    RETURN NULL;
END $$;
CREATE TRIGGER customer_has_a_contact_state AFTER INSERT ON audiences_customer
REFERENCING NEW TABLE AS born FOR EACH STATEMENT EXECUTE FUNCTION audiences_bear_contact_state();
"""
NO_BIRTH = """
DROP TRIGGER customer_has_a_contact_state ON audiences_customer;
DROP TRIGGER customer_is_renamed ON audiences_customer;
DROP TRIGGER customer_is_completed ON audiences_customer;
DROP FUNCTION audiences_bear_contact_state();
DROP FUNCTION audiences_complete_customer();
"""

MERGES = """
CREATE FUNCTION audiences_check_merge_pointer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM audiences_customer WHERE id = NEW.merged_into_id AND merged_into_id IS NOT NULL) THEN
        RAISE EXCEPTION 'customer % cannot be merged into %, who is absorbed', NEW.id, NEW.merged_into_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'merge_pointers_are_flat';
    END IF;
    IF EXISTS (SELECT FROM audiences_customer WHERE merged_into_id = NEW.id) THEN
        RAISE EXCEPTION 'customer % cannot be absorbed while others point to it', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'merge_pointers_are_flat';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER merge_pointers_are_flat BEFORE INSERT OR UPDATE OF merged_into_id ON audiences_customer
FOR EACH ROW WHEN (NEW.merged_into_id IS NOT NULL)
EXECUTE FUNCTION audiences_check_merge_pointer();

CREATE FUNCTION audiences_tell_contact_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE audiences_contactstate
    SET absorbed = NEW.merged_into_id IS NOT NULL, erased = NEW.erased_at IS NOT NULL
    WHERE customer_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER contact_state_follows_customer AFTER UPDATE OF merged_into_id, erased_at ON audiences_customer
FOR EACH ROW WHEN (
    (NEW.merged_into_id IS NULL) <> (OLD.merged_into_id IS NULL)
    OR (NEW.erased_at IS NULL) <> (OLD.erased_at IS NULL)
) EXECUTE FUNCTION audiences_tell_contact_state();
"""
NO_MERGES = """
DROP TRIGGER contact_state_follows_customer ON audiences_customer;
DROP TRIGGER merge_pointers_are_flat ON audiences_customer;
DROP FUNCTION audiences_tell_contact_state();
DROP FUNCTION audiences_check_merge_pointer();
"""

# A writer locks the contact states first (audiences.contact_state.lock), then writes consent; the lock
# here is the second line, for those who do not.
MIRROR = """
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM audiences_contactstate
    WHERE customer_id IN (SELECT customer_id FROM ({changed}) changed)
    ORDER BY customer_id FOR UPDATE;

    WITH changed AS ({changed}),
    permissions AS (
        SELECT customer_id,
            array_agg(key::varchar) AS keys,
            coalesce(array_agg(key::varchar) FILTER (WHERE status = 'granted'), '{{}}') AS granted,
            coalesce(array_agg(key::varchar) FILTER (WHERE status = 'withdrawn'), '{{}}') AS withdrawn
        FROM changed GROUP BY customer_id
    ),
    mirrored AS (
        SELECT s.customer_id,
            ARRAY(SELECT k FROM unnest(s.allowed) k WHERE k <> ALL (p.keys)) || p.granted AS allowed,
            ARRAY(SELECT k FROM unnest(s.blocked) k WHERE k <> ALL (p.keys)) || p.withdrawn AS blocked
        FROM permissions p JOIN audiences_contactstate s USING (customer_id)
    )
    UPDATE audiences_contactstate s SET allowed = m.allowed, blocked = m.blocked
    FROM mirrored m WHERE s.customer_id = m.customer_id;

    INSERT INTO audiences_consentchange
        (customer_id, brand_id, medium, purpose, status, source, occurred_at, received_at)
    {change};
    RETURN NULL;
END $$;
"""
INSERTED = MIRROR.format(
    function="audiences_mirror_given_consent",
    changed="SELECT customer_id, purpose || ':' || brand_id || ':' || medium AS key, status FROM now_so",
    change="SELECT customer_id, brand_id, medium, purpose, status, source, occurred_at, received_at FROM now_so",
)
UPDATED = MIRROR.format(
    function="audiences_mirror_changed_consent",
    changed="""SELECT customer_id, purpose || ':' || brand_id || ':' || medium AS key, status FROM now_so
        UNION ALL
        SELECT o.customer_id, o.purpose || ':' || o.brand_id || ':' || o.medium, '' FROM then_so o
        WHERE NOT EXISTS (
            SELECT FROM now_so n WHERE n.customer_id = o.customer_id AND n.purpose = o.purpose
            AND n.brand_id = o.brand_id AND n.medium = o.medium
        )""",
    change="""SELECT n.customer_id, n.brand_id, n.medium, n.purpose, n.status, n.source, n.occurred_at, n.received_at
        FROM now_so n JOIN then_so o USING (id)
        WHERE (n.customer_id, n.brand_id, n.medium, n.purpose, n.status, n.source, n.occurred_at)
            IS DISTINCT FROM (o.customer_id, o.brand_id, o.medium, o.purpose, o.status, o.source, o.occurred_at)""",
)
DELETED = MIRROR.format(
    function="audiences_mirror_dropped_consent",
    changed="SELECT customer_id, purpose || ':' || brand_id || ':' || medium AS key, '' AS status FROM then_so",
    change="""SELECT customer_id, brand_id, medium, purpose, 'withdrawn', 'removed', now(), now()
        FROM then_so WHERE status = 'granted'""",
)
CONSENT = f"""
{INSERTED}
CREATE TRIGGER given_consent_is_mirrored AFTER INSERT ON audiences_consent
REFERENCING NEW TABLE AS now_so
FOR EACH STATEMENT EXECUTE FUNCTION audiences_mirror_given_consent();
{UPDATED}
CREATE TRIGGER changed_consent_is_mirrored AFTER UPDATE ON audiences_consent
REFERENCING OLD TABLE AS then_so NEW TABLE AS now_so
FOR EACH STATEMENT EXECUTE FUNCTION audiences_mirror_changed_consent();
{DELETED}
CREATE TRIGGER dropped_consent_is_mirrored AFTER DELETE ON audiences_consent
REFERENCING OLD TABLE AS then_so
FOR EACH STATEMENT EXECUTE FUNCTION audiences_mirror_dropped_consent();
"""
NO_CONSENT = """
DROP TRIGGER given_consent_is_mirrored ON audiences_consent;
DROP TRIGGER changed_consent_is_mirrored ON audiences_consent;
DROP TRIGGER dropped_consent_is_mirrored ON audiences_consent;
DROP FUNCTION audiences_mirror_given_consent();
DROP FUNCTION audiences_mirror_changed_consent();
DROP FUNCTION audiences_mirror_dropped_consent();
"""


def make_bucket(apps: Any, schema_editor: Any) -> None:
    digest = hashlib.sha256(f"bucket|{settings.HASH_KEY}".encode()).digest()
    seed = int.from_bytes(digest[:8], "big", signed=True)
    schema_editor.execute(BUCKET.format(seed=f"'{seed}'::bigint").replace("%", "%%"), [])


def drop_bucket(apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(NO_BUCKET)


def make_brand(apps: Any, schema_editor: Any) -> None:
    """A company with one brand need never think of brands."""
    apps.get_model("audiences", "Brand").objects.get_or_create(code="main", defaults={"name": "Main brand"})


class Migration(migrations.Migration):
    dependencies = [("audiences", "0001_initial")]

    operations = [
        migrations.RunPython(make_bucket, drop_bucket),
        migrations.RunSQL(NAME_SORT, NO_NAME_SORT),
        migrations.RunSQL(BIRTH, NO_BIRTH),
        migrations.RunSQL(MERGES, NO_MERGES),
        migrations.RunSQL(CONSENT, NO_CONSENT),
        migrations.RunPython(make_brand, migrations.RunPython.noop),
        # The sample behind a segment's quick estimate is drawn by bucket.
        migrations.AddIndex("customer", models.Index(fields=["bucket"], name="customer_by_bucket")),
    ]
