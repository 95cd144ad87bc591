"""Orders and their lines. Returns come as the same order with ``returned`` filled."""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.people import CUSTOMER_COLUMNS, resolve_customers
from audiences.imports.kinds.upsert import upsert
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind

NUMBER = ImportColumn(
    "number",
    _("Order number"),
    kind="identifier",
    longest=80,
    required=True,
    aliases=("order id", "order no", "order number", "basket id", "订单号", "订单编号", "单号"),
)
SOURCE = ImportColumn(
    "source",
    _("Source"),
    _("The shop or till the number comes from; numbers are unique in it."),
    kind="identifier",
    longest=40,
    aliases=("shop", "channel", "来源", "店铺", "渠道"),
)
AMOUNTS = ("gross", "paid", "returned", "tax", "margin")

ORDER_COLUMNS = (
    NUMBER,
    SOURCE,
    ImportColumn(
        "placed_at",
        _("Placed at"),
        kind="datetime",
        required=True,
        aliases=(
            "order time",
            "order date",
            "date",
            "purchased at",
            "transaction timestamp",
            "paid at",
            "下单时间",
            "订单时间",
            "支付时间",
            "付款时间",
        ),
    ),
    *CUSTOMER_COLUMNS,
    ImportColumn(
        "paid",
        _("Paid"),
        _("What the customer paid, VAT included."),
        kind="decimal",
        required=True,
        aliases=(
            "amount",
            "total",
            "sales value",
            "revenue",
            "实付",
            "实付金额",
            "支付金额",
            "金额",
            "订单金额",
        ),
    ),
    ImportColumn(
        "gross",
        _("Gross"),
        _("Before discounts; as paid when empty."),
        kind="decimal",
        aliases=("list amount", "原价", "应付金额", "吊牌金额"),
    ),
    ImportColumn(
        "returned", _("Returned"), kind="decimal", aliases=("refund", "refunded", "退款", "退款金额")
    ),
    ImportColumn("returned_at", _("Returned at"), kind="datetime", aliases=("refund time", "退款时间")),
    ImportColumn("tax", _("VAT included"), kind="decimal", aliases=("vat", "tax", "税额")),
    ImportColumn(
        "margin", _("Contribution margin"), kind="decimal", aliases=("gross profit", "毛利", "毛利额")
    ),
    ImportColumn(
        "currency",
        _("Currency"),
        _("Three letters; that of the installation when empty."),
        longest=3,
        aliases=("币种", "货币"),
    ),
    ImportColumn("store", _("Store"), longest=80, aliases=("store id", "门店", "门店编号")),
    ImportColumn(
        "offer_code",
        _("Offer code"),
        longest=80,
        aliases=("coupon", "coupon code", "coupon upc", "优惠码", "优惠券码", "券码"),
    ),
)


def check(staged: Staged) -> None:
    staged.refuse("currency", _t("not a currency such as CNY"), "r.currency !~ '^[A-Za-z]{3}$'")
    staged.refuse("paid", _t("below zero; give what went back as returned"), "r.paid < 0")
    staged.refuse("returned", _t("below zero"), "r.returned < 0")
    staged.refuse(
        "number",
        _t("stands in this file for several customers or amounts"),
        """(r.number, coalesce(r.source, 'import')) IN (
            SELECT number, coalesce(source, 'import') FROM {rows} GROUP BY 1, 2 HAVING count(*) > 1
                AND (count(DISTINCT paid) > 1 OR count(DISTINCT placed_at) > 1)
        )""",
    )
    staged.take_out()
    resolve_customers(staged)


def load(staged: Staged) -> dict[str, int]:
    """An order is known by source and number. A later file may change amounts and returns, not the customer."""
    zero = {name: f"coalesce(r.{name}, 0)" for name in ("returned", "tax")}
    return upsert(
        staged,
        table="audiences_order",
        key=("source", "number"),
        values={
            "source": "coalesce(r.source, 'import')",
            "number": "r.number",
            "customer_id": "r.customer_id",
            "brand_id": str(int(staged.brand_id)),
            "placed_at": "r.placed_at",
            "received_at": "now()",
            "currency": f"upper(coalesce(r.currency, '{settings.DEFAULT_CURRENCY}'))",
            "gross": "coalesce(r.gross, r.paid)",
            "paid": "r.paid",
            **zero,
            "returned_at": "r.returned_at",
            "margin": "r.margin",
            "store": "coalesce(r.store, '')",
            "offer_code": "coalesce(r.offer_code, '')",
            "import_batch_id": str(int(staged.batch.pk)),
        },
        changes={
            # Rounded as the column is, or the same file would change it again and again.
            **{name: f"round(r.{name}, 4)" for name in AMOUNTS if staged.has(name)},
            "returned_at": "r.returned_at",
            "placed_at": "r.placed_at",
            "store": "r.store",
            "offer_code": "r.offer_code",
        },
    )


def stored(staged: Staged) -> dict[str, Decimal]:
    """The amounts of these orders as they stand in our table now."""
    names = [name for name in AMOUNTS if staged.has(name)]
    sums = ", ".join(f"coalesce(sum(o.{name}), 0)" for name in names)
    found = staged.fetch(
        f"""SELECT {sums} FROM audiences_order o
        JOIN (SELECT DISTINCT coalesce(source, 'import') AS source, number FROM {{rows}}) r USING (source, number)"""
    )
    return dict(zip(names, found[0], strict=True))


def remove(batch_id: int) -> int:
    """Remove the orders this batch brought, with their lines."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM audiences_orderline WHERE order_id IN (SELECT id FROM audiences_order WHERE import_batch_id = %s)",
            [batch_id],
        )
        cursor.execute("DELETE FROM audiences_order WHERE import_batch_id = %s", [batch_id])
        return int(cursor.rowcount)


ORDERS: ImportKind = ImportKind(
    _("Orders"),
    ORDER_COLUMNS,
    load,
    check=check,
    stored=stored,
    help=_("What customers bought, one row an order. Customers must be known, or choose to create them."),
    sums=AMOUNTS,
    remove=remove,
)

LINE_COLUMNS = (
    NUMBER,
    SOURCE,
    ImportColumn(
        "line_number",
        _("Line"),
        _("Position in the order, from 1."),
        kind="integer",
        aliases=("line", "line no", "行号", "序号"),
    ),
    ImportColumn(
        "sku",
        _("SKU"),
        kind="identifier",
        longest=80,
        required=True,
        aliases=("product id", "product", "item", "商品编码", "商品编号", "货号"),
    ),
    ImportColumn("quantity", _("Quantity"), kind="decimal", aliases=("qty", "数量", "件数")),
    ImportColumn(
        "amount",
        _("Amount"),
        _("Paid for this line."),
        kind="decimal",
        required=True,
        aliases=("sales value", "paid", "line total", "金额", "实付金额"),
    ),
)


def check_lines(staged: Staged) -> None:
    staged.refuse(
        "line_number",
        _t("stands twice for this order"),
        """r.line_number IS NOT NULL AND (coalesce(r.source, 'import'), r.number, r.line_number) IN (
            SELECT coalesce(source, 'import'), number, line_number FROM {rows}
            GROUP BY 1, 2, 3 HAVING count(*) > 1 AND count(DISTINCT (sku, amount)) > 1
        )""",
    )
    staged.refuse(
        "number",
        _t("no order has this number; load the orders first"),
        """NOT EXISTS (
            SELECT FROM audiences_order o WHERE o.source = coalesce(r.source, 'import') AND o.number = r.number
        )""",
    )


def load_lines(staged: Staged) -> dict[str, int]:
    """A line is known by its order and position; without positions, by its place among the order's lines."""
    staged.execute(
        """INSERT INTO audiences_product (sku, name, category, subcategory, maker, attributes)
        SELECT DISTINCT sku, '', '', '', '', '{}'::jsonb FROM {rows} ORDER BY 1 ON CONFLICT DO NOTHING"""
    )
    staged.table(
        "lines",
        """SELECT r.line, o.id AS order_id, p.id AS product_id, round(coalesce(r.quantity, 1), 3) AS quantity,
            round(r.amount, 4) AS amount, coalesce(r.line_number, row_number() OVER (PARTITION BY o.id ORDER BY r.line)) AS n
        FROM {rows} r
        JOIN audiences_order o ON o.source = coalesce(r.source, 'import') AND o.number = r.number
        JOIN audiences_product p ON p.sku = r.sku""",
    )
    return upsert(
        staged,
        table="audiences_orderline",
        key=("order_id", "line"),
        row_key=("r.order_id", "r.n"),
        values={
            "order_id": "r.order_id",
            "line": "r.n",
            "product_id": "r.product_id",
            "quantity": "r.quantity",
            "amount": "r.amount",
        },
        changes={"product_id": "r.product_id", "quantity": "r.quantity", "amount": "r.amount"},
        rows="{work:lines}",
    )


def stored_lines(staged: Staged) -> dict[str, Any]:
    found = staged.fetch(
        """SELECT coalesce(sum(l.amount), 0) FROM audiences_orderline l
        JOIN (SELECT DISTINCT order_id, n FROM {work:lines}) r ON r.order_id = l.order_id AND r.n = l.line"""
    )
    return {"amount": found[0][0]}


LINES: ImportKind = ImportKind(
    _("Order lines"),
    LINE_COLUMNS,
    load_lines,
    check=check_lines,
    stored=stored_lines,
    help=_("What each order consists of. Unknown products are created with their SKU."),
    sums=("amount",),
)
