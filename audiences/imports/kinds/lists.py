"""Members of fixed lists: a segment that is a list is filled by file."""

from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.people import CUSTOMER_COLUMNS, resolve_customers
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind

COLUMNS = (
    *CUSTOMER_COLUMNS,
    ImportColumn(
        "list",
        _("List"),
        _("Its name; without one the list chosen for the file, or the file's own name."),
        longest=120,
        aliases=("segment", "list name", "名单", "人群", "人群名称"),
    ),
)


def check(staged: Staged) -> None:
    staged.refuse(
        "list",
        _t("this is a segment by rule; only a fixed list can be filled"),
        """r.list IN (SELECT name FROM audiences_segment WHERE rule IS NOT NULL)""",
    )
    staged.refuse(
        "",
        _t("this is a segment by rule; only a fixed list can be filled"),
        """r.list IS NULL AND %(list)s IN (SELECT name FROM audiences_segment WHERE rule IS NOT NULL)""",
        list=_name(staged),
    )
    staged.take_out()
    resolve_customers(staged)


def load(staged: Staged) -> dict[str, int]:
    staged.table(
        "listed",
        "SELECT DISTINCT coalesce(list, %(list)s) AS name, customer_id FROM {rows}",
        list=_name(staged),
    )
    staged.execute(
        """INSERT INTO audiences_segment (name, description, created_by_id, created_at, updated_at)
        SELECT DISTINCT name, '', %(user)s::bigint, %(now)s, %(now)s FROM {work:listed} ON CONFLICT DO NOTHING""",
        user=staged.batch.created_by_id,
    )
    new = staged.execute(
        """INSERT INTO audiences_segmentmember (segment_id, customer_id)
        SELECT s.id, l.customer_id FROM {work:listed} l JOIN audiences_segment s ON s.name = l.name
        ORDER BY 1, 2 ON CONFLICT DO NOTHING"""
    )
    staged.execute(
        """UPDATE audiences_segment s SET counted = m.n, counted_at = %(now)s
        FROM (
            SELECT segment_id, count(DISTINCT coalesce(c.merged_into_id, c.id)) AS n
            FROM audiences_segmentmember m JOIN audiences_customer c ON c.id = m.customer_id
            WHERE m.segment_id IN (
                SELECT id FROM audiences_segment WHERE name IN (SELECT name FROM {work:listed})
            ) AND c.erased_at IS NULL
            GROUP BY 1
        ) m WHERE m.segment_id = s.id"""
    )
    total = int(staged.fetch("SELECT count(*) FROM {rows}")[0][0])
    return {"new": new, "changed": 0, "same": total - new}


def _name(staged: Staged) -> str:
    return str(staged.options.get("list") or staged.batch.name)[:120]


KIND: ImportKind = ImportKind(
    _("List members"),
    COLUMNS,
    load,
    check=check,
    help=_("Customers for a fixed list. A list nobody knows yet is made."),
    url_name="audiences:segments",
)
