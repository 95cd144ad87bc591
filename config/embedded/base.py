from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql import base

from config import env, postgres


class DatabaseWrapper(base.DatabaseWrapper):
    """Commands that never touch the database (help, messages, checks) never start it either."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if env.flag("EVENREACH_OFFLINE"):
            raise OperationalError("EVENREACH_OFFLINE is set: the embedded database stays as it is.")
        postgres.hold_default()
        return super().get_new_connection(conn_params)
