"""Tags put on customers."""

from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.customers import put_tags
from audiences.imports.kinds.people import CUSTOMER_COLUMNS, resolve_customers
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind

COLUMNS = (
    *CUSTOMER_COLUMNS,
    ImportColumn("tag", _("Tag"), required=True, longest=80, aliases=("label", "tag name", "标签", "标签名")),
    ImportColumn("tag_group", _("Group"), longest=80, aliases=("group", "标签组")),
)


def check(staged: Staged) -> None:
    resolve_customers(staged)


def load(staged: Staged) -> dict[str, int]:
    staged.table("tagged", "SELECT DISTINCT customer_id, tag AS name FROM {rows}")
    staged.execute(f"CREATE {staged.table_kind} TABLE {{work:changed}} (customer_id bigint)")
    new = put_tags(staged)
    changed = staged.execute(
        """UPDATE audiences_tag t SET "group" = r.tag_group
        FROM (SELECT DISTINCT ON (tag) tag, tag_group FROM {rows} WHERE tag_group IS NOT NULL ORDER BY tag, line DESC) r
        WHERE t.name = r.tag AND t."group" <> r.tag_group"""
    )
    staged.counts["tag_groups_changed"] = changed
    total = int(staged.fetch("SELECT count(*) FROM {rows}")[0][0])
    return {"new": new, "changed": 0, "same": total - new}


KIND: ImportKind = ImportKind(
    _("Tags"), COLUMNS, load, check=check, help=_("Labels on customers, one a row.")
)
