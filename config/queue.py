"""The task queue inside the database: the SQL of PGMQ, installed without any extension."""

from django.db import connections, transaction
from pgmq.install import get_embedded_install_sql

LOCK = 7_301_441_902  # any number, the same in every process


def installed(using: str = "default") -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regprocedure('pgmq.send(text,jsonb,integer)') IS NOT NULL")
        return bool(cursor.fetchone()[0])


def install(using: str = "default") -> bool:
    """Install the queue if it is not there; says whether it had to. Safe when several run at once."""
    if installed(using):
        return False
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if installed(using):
            return False
        cursor.execute(get_embedded_install_sql())
    return True
