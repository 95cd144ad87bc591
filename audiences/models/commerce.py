"""What customers bought and did."""

from typing import Any

from django.db import models
from django.db.models.fields.json import KeyTextTransform
from django.utils.translation import gettext_lazy as _

from audiences.models.customer import Brand, Customer

MONEY: dict[str, Any] = {"max_digits": 18, "decimal_places": 4}


class Product(models.Model):
    sku = models.CharField(_("SKU"), max_length=80, unique=True)
    name = models.CharField(_("name"), max_length=254, blank=True)
    category = models.CharField(_("category"), max_length=120, blank=True, db_index=True)
    subcategory = models.CharField(_("subcategory"), max_length=120, blank=True)
    maker = models.CharField(_("maker"), max_length=120, blank=True)
    attributes = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name or self.sku


class Order(models.Model):
    """A purchase. Amounts in ``currency``; ``paid`` is what the customer paid, ``returned`` what went back.

    Net revenue = paid − returned. ``margin`` is the contribution margin of the order where the source
    tells it; otherwise the campaign's stated margin rate is used.
    """

    source = models.CharField(_("source"), max_length=40, default="import")
    number = models.CharField(_("number"), max_length=80)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders", db_index=False)
    brand = models.ForeignKey(Brand, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    placed_at = models.DateTimeField(_("placed at"))
    received_at = models.DateTimeField()
    currency = models.CharField(_("currency"), max_length=3, default="CNY")
    gross = models.DecimalField(_("gross"), **MONEY)
    paid = models.DecimalField(_("paid"), **MONEY)
    returned = models.DecimalField(_("returned"), default=0, **MONEY)
    returned_at = models.DateTimeField(null=True, blank=True)
    tax = models.DecimalField(_("VAT included"), default=0, **MONEY)
    margin = models.DecimalField(_("contribution margin"), null=True, blank=True, **MONEY)
    store = models.CharField(_("store"), max_length=80, blank=True)
    offer_code = models.CharField(_("offer code"), max_length=80, blank=True)
    import_batch = models.ForeignKey(
        "audiences.ImportBatch", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        constraints = (models.UniqueConstraint(fields=("source", "number"), name="an_order_is_loaded_once"),)
        indexes = (
            models.Index(fields=("customer", "placed_at"), name="order_by_customer"),
            models.Index(fields=("placed_at",), name="order_by_time"),
            models.Index(
                fields=("offer_code",), name="order_by_offer_code", condition=~models.Q(offer_code="")
            ),
        )

    def __str__(self) -> str:
        return self.number


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines", db_index=False)
    line = models.IntegerField()  # position in the order, from 1
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+", db_index=False)
    quantity = models.DecimalField(max_digits=14, decimal_places=3)
    amount = models.DecimalField(**MONEY)  # paid for this line, in the order's currency

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("order", "line"), name="an_order_line_is_loaded_once"),
        )
        indexes = (models.Index(fields=("product", "order"), name="order_line_by_product"),)

    def __str__(self) -> str:
        return f"{self.order_id}/{self.line}"


class BehaviourEvent(models.Model):
    """Something a customer did outside a campaign: a visit, a search, an addition to the cart."""

    source = models.CharField(max_length=40)
    source_key = models.CharField(max_length=120)
    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="behaviour_events", db_index=False
    )
    kind = models.CharField(_("kind"), max_length=40)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    attributes = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("source", "source_key"), name="a_behaviour_is_loaded_once"),
        )
        indexes = (
            models.Index(fields=("customer", "kind", "occurred_at"), name="behaviour_by_customer"),
            models.Index(fields=("kind", "received_at"), name="behaviour_by_kind"),
            # Who came by a link that bears its name (utm_content).
            models.Index(
                KeyTextTransform("utm_content", "attributes"),
                name="behaviour_by_utm_content",
                condition=models.Q(attributes__has_key="utm_content"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.source_key}"
