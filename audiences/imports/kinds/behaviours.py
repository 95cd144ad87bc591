"""What customers did outside a campaign: visits, searches, additions to the cart."""

from django.db import connection
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.people import CUSTOMER_COLUMNS, resolve_customers
from audiences.imports.kinds.upsert import upsert
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind

COLUMNS = (
    *CUSTOMER_COLUMNS,
    ImportColumn(
        "kind",
        _("Kind"),
        _("Such as visit, search, add_to_cart."),
        kind="identifier",
        longest=40,
        required=True,
        aliases=("event", "event type", "behaviour", "behavior", "事件", "行为", "行为类型"),
    ),
    ImportColumn(
        "occurred_at",
        _("Time"),
        kind="datetime",
        required=True,
        aliases=("time", "timestamp", "date", "event time", "时间", "发生时间"),
    ),
    ImportColumn(
        "event_key",
        _("Key"),
        _("The event's id in its source. Without one, customer, kind and time make it."),
        kind="identifier",
        longest=120,
        aliases=("event id", "key", "id", "事件id", "唯一键"),
    ),
    ImportColumn("source", _("Source"), kind="identifier", longest=40, aliases=("来源",)),
)


def check(staged: Staged) -> None:
    resolve_customers(staged)


def load(staged: Staged) -> dict[str, int]:
    told = "concat_ws('|', r.customer_id, r.kind, r.occurred_at AT TIME ZONE 'UTC', r.extra)"
    key = f"coalesce(r.event_key, md5({told}))"
    return upsert(
        staged,
        table="audiences_behaviourevent",
        key=("source", "source_key"),
        values={
            "source": "coalesce(r.source, 'import')",
            "source_key": key,
            "customer_id": "r.customer_id",
            "kind": "r.kind",
            "occurred_at": "r.occurred_at",
            "received_at": "now()",
            "attributes": f"coalesce(r.extra, '{{}}'::jsonb) || jsonb_build_object('import', {int(staged.batch.pk)})",
        },
        changes={"occurred_at": "r.occurred_at", "attributes": "t.attributes || r.extra"},
    )


def remove(batch_id: int) -> int:
    """Remove the events this batch brought."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM audiences_behaviourevent WHERE attributes @> jsonb_build_object('import', %s::bigint)",
            [batch_id],
        )
        return int(cursor.rowcount)


KIND: ImportKind = ImportKind(
    _("Behaviours"),
    COLUMNS,
    load,
    check=check,
    help=_("What customers did outside a campaign. Other columns become attributes of the event."),
    remove=remove,
    takes_other_columns=True,
)
