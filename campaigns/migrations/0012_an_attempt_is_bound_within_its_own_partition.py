"""An attempt's foreign key goes from its partition to the touches' partition of the same campaign.

From the whole to the whole, each row's check locked and considered every partition of touches: 75 µs a row with five
of them and more with each campaign, against 6 µs from one to the other.
"""

from django.db import migrations

FROM_PARTITION_TO_PARTITION = """
ALTER TABLE campaigns_attempt DROP CONSTRAINT an_attempt_belongs_to_a_touch;
DO $$
DECLARE
    part text;
BEGIN
    FOR part IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'campaigns_attempt'::regclass LOOP
        EXECUTE format(
            'ALTER TABLE %I ADD CONSTRAINT an_attempt_belongs_to_a_touch FOREIGN KEY (campaign_id, touch_id)
             REFERENCES %I (campaign_id, id)', part, replace(part, 'campaigns_attempt', 'campaigns_touch'));
    END LOOP;
END $$;
"""
FROM_WHOLE_TO_WHOLE = """
DO $$
DECLARE
    part text;
BEGIN
    FOR part IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'campaigns_attempt'::regclass LOOP
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT an_attempt_belongs_to_a_touch', part);
    END LOOP;
END $$;
ALTER TABLE campaigns_attempt ADD CONSTRAINT an_attempt_belongs_to_a_touch FOREIGN KEY (campaign_id, touch_id)
    REFERENCES campaigns_touch (campaign_id, id);
"""


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0011_campaigns_recur_are_triggered_and_carry_an_offer")]

    operations = [migrations.RunSQL(FROM_PARTITION_TO_PARTITION, FROM_WHOLE_TO_WHOLE)]
