from django.db import migrations

# As `createcachetable` would make it, but unlogged: a cache need not survive a crash.
CACHE = """
CREATE UNLOGGED TABLE config_cache (
    cache_key varchar(255) PRIMARY KEY,
    value text NOT NULL,
    expires timestamptz NOT NULL
);
CREATE INDEX config_cache_expires ON config_cache (expires);
ALTER TABLE config_throttlewindow SET UNLOGGED;
"""
NO_CACHE = "ALTER TABLE config_throttlewindow SET LOGGED; DROP TABLE config_cache;"


class Migration(migrations.Migration):
    dependencies = [("config", "0001_people_keys_and_heartbeats")]
    operations = [migrations.RunSQL(CACHE, NO_CACHE)]
