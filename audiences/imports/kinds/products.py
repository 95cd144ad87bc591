"""Products and their categories."""

from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.upsert import upsert
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind

COLUMNS = (
    ImportColumn(
        "sku",
        _("SKU"),
        kind="identifier",
        longest=80,
        required=True,
        aliases=("product id", "item", "product", "商品编码", "商品编号", "货号", "sku编码"),
    ),
    ImportColumn("name", _("Name"), aliases=("product name", "title", "商品名称", "品名", "名称")),
    ImportColumn("category", _("Category"), longest=120, aliases=("department", "类目", "品类", "一级类目")),
    ImportColumn(
        "subcategory",
        _("Subcategory"),
        longest=120,
        aliases=("product category", "product type", "子类目", "二级类目"),
    ),
    ImportColumn(
        "maker", _("Maker"), longest=120, aliases=("manufacturer", "manufacturer id", "品牌商", "厂家")
    ),
)


def load(staged: Staged) -> dict[str, int]:
    return upsert(
        staged,
        table="audiences_product",
        key=("sku",),
        values={
            "sku": "r.sku",
            "name": "coalesce(r.name, '')",
            "category": "coalesce(r.category, '')",
            "subcategory": "coalesce(r.subcategory, '')",
            "maker": "coalesce(r.maker, '')",
            "attributes": "coalesce(r.extra, '{}'::jsonb)",
        },
        changes={
            **{name: f"r.{name}" for name in ("name", "category", "subcategory", "maker")},
            "attributes": "t.attributes || r.extra",
        },
    )


KIND: ImportKind = ImportKind(
    _("Products"),
    COLUMNS,
    load,
    help=_("What is sold, so that segments can ask for categories. Other columns become attributes."),
    takes_other_columns=True,
)
