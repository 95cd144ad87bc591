"""What finance must be able to rely on, kept by the database itself."""

from django.db import migrations

IMMUTABLE = """
CREATE FUNCTION reports_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are never changed or deleted; post a reversal or make a new one', TG_TABLE_NAME
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER a_ledger_entry_never_changes BEFORE UPDATE OR DELETE ON reports_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION reports_refuse_change();
CREATE TRIGGER a_ledger_batch_never_changes BEFORE UPDATE OR DELETE ON reports_ledgerbatch
    FOR EACH ROW EXECUTE FUNCTION reports_refuse_change();
CREATE TRIGGER a_signed_report_never_changes BEFORE UPDATE OR DELETE ON reports_signedreport
    FOR EACH ROW EXECUTE FUNCTION reports_refuse_change();
CREATE TRIGGER the_ledger_is_never_truncated BEFORE TRUNCATE ON reports_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION reports_refuse_change();
"""
IMMUTABLE_BACK = """
DROP TRIGGER the_ledger_is_never_truncated ON reports_ledgerentry;
DROP TRIGGER a_signed_report_never_changes ON reports_signedreport;
DROP TRIGGER a_ledger_batch_never_changes ON reports_ledgerbatch;
DROP TRIGGER a_ledger_entry_never_changes ON reports_ledgerentry;
DROP FUNCTION reports_refuse_change();
"""

# FOR SHARE on the period: a close, which updates the row, waits for posting and the other way round.
CLOSED_PERIODS = """
CREATE FUNCTION reports_refuse_closed_period() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    its_state text;
    its_month date;
BEGIN
    SELECT state, month INTO its_state, its_month FROM reports_ledgerperiod WHERE id = NEW.period_id FOR SHARE;
    IF its_state <> 'open' THEN
        RAISE EXCEPTION 'the period % is closed; post to the open one', to_char(its_month, 'YYYY-MM')
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_closed_period_takes_no_entry BEFORE INSERT ON reports_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION reports_refuse_closed_period();
CREATE FUNCTION reports_refuse_reopening() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state = 'closed' OR NEW.month <> OLD.month THEN
        RAISE EXCEPTION 'a period is closed for good and keeps its month' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_period_closes_for_good BEFORE UPDATE OR DELETE ON reports_ledgerperiod
    FOR EACH ROW EXECUTE FUNCTION reports_refuse_reopening();
"""
CLOSED_PERIODS_BACK = """
DROP TRIGGER a_period_closes_for_good ON reports_ledgerperiod;
DROP FUNCTION reports_refuse_reopening();
DROP TRIGGER a_closed_period_takes_no_entry ON reports_ledgerentry;
DROP FUNCTION reports_refuse_closed_period();
"""

BALANCED = """
CREATE FUNCTION reports_check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    difference numeric;
BEGIN
    SELECT sum(CASE side WHEN 'debit' THEN functional_amount ELSE -functional_amount END)
    INTO difference FROM reports_ledgerentry WHERE batch_id = NEW.batch_id;
    IF difference <> 0 THEN
        RAISE EXCEPTION 'ledger batch % is out of balance by %', NEW.batch_id, difference
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER a_batch_balances AFTER INSERT ON reports_ledgerentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reports_check_balance();
"""
BALANCED_BACK = "DROP TRIGGER a_batch_balances ON reports_ledgerentry; DROP FUNCTION reports_check_balance();"


class Migration(migrations.Migration):
    dependencies = [("reports", "0001_initial")]

    operations = [
        migrations.RunSQL(IMMUTABLE, IMMUTABLE_BACK),
        migrations.RunSQL(CLOSED_PERIODS, CLOSED_PERIODS_BACK),
        migrations.RunSQL(BALANCED, BALANCED_BACK),
    ]
