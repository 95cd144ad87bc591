"""The large tables, made by SQL: partitioned by campaign, and bound so that wrong rows cannot exist.

- a member target belongs to a member who is not held out, in the member's stage;
- a touch belongs to a member target, and its ordinal to an approved row of that stage;
- a touch has at most one attempt that is not known to have failed.
"""

from django.db import migrations

MEMBER = """
CREATE TABLE campaigns_member (
    campaign_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    stage varchar(16) NOT NULL,
    held_out boolean NOT NULL DEFAULT false,
    arm varchar(40) NOT NULL DEFAULT '',
    zone varchar(64) NOT NULL,
    state varchar(8) NOT NULL DEFAULT 'active',
    reason varchar(24) NOT NULL DEFAULT '',
    entered_at timestamptz NOT NULL,
    state_at timestamptz NOT NULL,
    last_response_at timestamptz,
    CONSTRAINT campaigns_member_pkey PRIMARY KEY (campaign_id, customer_id),
    CONSTRAINT a_member_has_one_stage_and_side UNIQUE (campaign_id, customer_id, stage, held_out)
) PARTITION BY LIST (campaign_id);
CREATE TABLE campaigns_member_shared PARTITION OF campaigns_member DEFAULT;
CREATE INDEX member_by_customer ON campaigns_member (customer_id);
"""

MEMBER_TARGET = """
CREATE TABLE campaigns_member_target (
    campaign_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    channel_id integer NOT NULL,
    round smallint NOT NULL,
    stage varchar(16) NOT NULL,
    held_out boolean NOT NULL DEFAULT false,
    target smallint NOT NULL,
    planned smallint NOT NULL,
    cause varchar(24) NOT NULL DEFAULT '',
    CONSTRAINT campaigns_member_target_pkey PRIMARY KEY (campaign_id, customer_id, channel_id, round, stage),
    CONSTRAINT the_held_out_have_no_target CHECK (NOT held_out),
    CONSTRAINT planned_is_within_target CHECK (planned >= 0 AND planned <= target),
    CONSTRAINT a_shortfall_has_a_cause CHECK (planned = target OR cause <> ''),
    CONSTRAINT a_target_belongs_to_a_member FOREIGN KEY (campaign_id, customer_id, stage, held_out)
        REFERENCES campaigns_member (campaign_id, customer_id, stage, held_out)
) PARTITION BY LIST (campaign_id);
CREATE TABLE campaigns_member_target_shared PARTITION OF campaigns_member_target DEFAULT;
"""

TOUCH = """
CREATE SEQUENCE campaigns_touch_id_seq AS bigint;
CREATE TABLE campaigns_touch (
    id bigint NOT NULL DEFAULT nextval('campaigns_touch_id_seq'),
    campaign_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    channel_id integer NOT NULL,
    round smallint NOT NULL,
    ordinal smallint NOT NULL,
    stage varchar(16) NOT NULL,
    message_version_id bigint,
    variant smallint NOT NULL DEFAULT 1,
    priority smallint NOT NULL DEFAULT 50,
    due_at timestamptz NOT NULL,
    deadline_at timestamptz NOT NULL,
    state varchar(10) NOT NULL DEFAULT 'planned',
    reason varchar(24) NOT NULL DEFAULT '',
    deferred varchar(24) NOT NULL DEFAULT '',
    attempts smallint NOT NULL DEFAULT 0,
    reserved numeric(14,6) NOT NULL DEFAULT 0,
    cost numeric(14,6) NOT NULL DEFAULT 0,
    state_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT campaigns_touch_pkey PRIMARY KEY (campaign_id, id),
    CONSTRAINT a_touch_is_unique_per_round UNIQUE (campaign_id, customer_id, channel_id, round, ordinal),
    CONSTRAINT a_final_touch_that_missed_has_a_reason CHECK (state NOT IN ('gap', 'released') OR reason <> ''),
    CONSTRAINT a_touch_belongs_to_a_target FOREIGN KEY (campaign_id, customer_id, channel_id, round, stage)
        REFERENCES campaigns_member_target (campaign_id, customer_id, channel_id, round, stage),
    CONSTRAINT a_touch_was_approved FOREIGN KEY (campaign_id, channel_id, round, stage, ordinal)
        REFERENCES campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal)
) PARTITION BY LIST (campaign_id);
CREATE TABLE campaigns_touch_shared PARTITION OF campaigns_touch DEFAULT;
CREATE INDEX touch_due ON campaigns_touch (channel_id, due_at) WHERE state = 'planned';
CREATE INDEX touch_by_customer ON campaigns_touch (customer_id);
"""

ATTEMPT = """
CREATE SEQUENCE campaigns_attempt_id_seq AS bigint;
CREATE TABLE campaigns_attempt (
    id bigint NOT NULL DEFAULT nextval('campaigns_attempt_id_seq'),
    campaign_id bigint NOT NULL,
    touch_id bigint NOT NULL,
    n smallint NOT NULL,
    customer_id bigint NOT NULL,
    channel_id integer NOT NULL,
    identity_id bigint,
    state varchar(10) NOT NULL DEFAULT 'recorded',
    reference varchar(160) NOT NULL DEFAULT '',
    code varchar(80) NOT NULL DEFAULT '',
    text varchar(254) NOT NULL DEFAULT '',
    parts smallint NOT NULL DEFAULT 1,
    cost numeric(14,6) NOT NULL DEFAULT 0,
    worker varchar(80) NOT NULL DEFAULT '',
    lease_until timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    settled_at timestamptz,
    CONSTRAINT campaigns_attempt_pkey PRIMARY KEY (campaign_id, touch_id, n),
    CONSTRAINT an_attempt_belongs_to_a_touch FOREIGN KEY (campaign_id, touch_id)
        REFERENCES campaigns_touch (campaign_id, id)
) PARTITION BY LIST (campaign_id);
CREATE TABLE campaigns_attempt_shared PARTITION OF campaigns_attempt DEFAULT;
CREATE UNIQUE INDEX a_touch_has_one_live_attempt ON campaigns_attempt (campaign_id, touch_id)
    WHERE state IN ('recorded', 'accepted', 'held', 'delivered', 'unknown');
CREATE INDEX attempt_by_id ON campaigns_attempt (id);
CREATE INDEX attempt_by_customer ON campaigns_attempt (customer_id, started_at);
CREATE INDEX attempt_to_settle ON campaigns_attempt (channel_id, lease_until)
    WHERE state IN ('recorded', 'held', 'unknown');
"""

FROZEN_CONTENT = """
CREATE FUNCTION campaigns_refuse_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    frozen timestamptz;
BEGIN
    IF TG_TABLE_NAME = 'campaigns_messageversion' THEN
        frozen := OLD.frozen_at;
    ELSE
        SELECT v.frozen_at INTO frozen FROM campaigns_messageversion v
        WHERE v.id = CASE WHEN TG_OP = 'INSERT' THEN NEW.version_id ELSE OLD.version_id END;
    END IF;
    IF frozen IS NOT NULL THEN
        RAISE EXCEPTION 'message content is frozen by an approval; make a new version'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER an_approved_version_is_frozen BEFORE UPDATE OR DELETE ON campaigns_messageversion
    FOR EACH ROW EXECUTE FUNCTION campaigns_refuse_frozen();
CREATE TRIGGER an_approved_variant_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON campaigns_messagevariant
    FOR EACH ROW EXECUTE FUNCTION campaigns_refuse_frozen();
"""

NOTHING_APPROVED_IS_DELETED = """
CREATE FUNCTION campaigns_refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.campaign_id, OLD.channel_id, OLD.round, OLD.stage, OLD.ordinal)
        IS NOT DISTINCT FROM (NEW.campaign_id, NEW.channel_id, NEW.round, NEW.stage, NEW.ordinal) THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM campaigns_campaign WHERE id = OLD.campaign_id) THEN
        RAISE EXCEPTION 'approved ordinals are withdrawn, never deleted' USING ERRCODE = 'check_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER what_was_approved_stays BEFORE UPDATE OR DELETE ON campaigns_approved_ordinal
    FOR EACH ROW EXECUTE FUNCTION campaigns_refuse_rewrite();
"""


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0001_initial")]

    operations = [
        migrations.RunSQL(MEMBER, "DROP TABLE campaigns_member"),
        migrations.RunSQL(MEMBER_TARGET, "DROP TABLE campaigns_member_target"),
        migrations.RunSQL(TOUCH, "DROP TABLE campaigns_touch; DROP SEQUENCE campaigns_touch_id_seq"),
        migrations.RunSQL(ATTEMPT, "DROP TABLE campaigns_attempt; DROP SEQUENCE campaigns_attempt_id_seq"),
        migrations.RunSQL(
            FROZEN_CONTENT,
            "DROP TRIGGER an_approved_variant_is_frozen ON campaigns_messagevariant;"
            "DROP TRIGGER an_approved_version_is_frozen ON campaigns_messageversion;"
            "DROP FUNCTION campaigns_refuse_frozen()",
        ),
        migrations.RunSQL(
            NOTHING_APPROVED_IS_DELETED,
            "DROP TRIGGER what_was_approved_stays ON campaigns_approved_ordinal;"
            "DROP FUNCTION campaigns_refuse_rewrite()",
        ),
    ]
