"""The kinds of rows this app takes. Later apps register their own."""

from audiences.imports.kinds import (
    behaviours,
    consents,
    customers,
    lists,
    orders,
    products,
    suppressions,
    tags,
)
from audiences.registers import import_kinds


def register() -> None:
    """Called once, when the app is ready."""
    import_kinds.add("customers", customers.KIND)
    import_kinds.add("orders", orders.ORDERS)
    import_kinds.add("order_lines", orders.LINES)
    import_kinds.add("products", products.KIND)
    import_kinds.add("consents", consents.KIND)
    import_kinds.add("tags", tags.KIND)
    import_kinds.add("behaviours", behaviours.KIND)
    import_kinds.add("suppressions", suppressions.KIND)
    import_kinds.add("lists", lists.KIND)
