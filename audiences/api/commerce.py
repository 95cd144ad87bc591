"""REST: orders, products and behaviour events. Written by POST /orders/batch/ and the like."""

import django_filters
from rest_framework import generics, serializers

from audiences.api.people import Guarded
from audiences.models import BehaviourEvent, Brand, Order, OrderLine, Product


class OrderLineSerializer(serializers.ModelSerializer[OrderLine]):
    sku: serializers.SlugRelatedField[Product] = serializers.SlugRelatedField(
        source="product", slug_field="sku", read_only=True
    )

    class Meta:
        model = OrderLine
        fields = ("line", "sku", "quantity", "amount")


class OrderSerializer(serializers.ModelSerializer[Order]):
    """Amounts in ``currency``; net revenue is ``paid`` less ``returned``."""

    brand: serializers.SlugRelatedField[Brand] = serializers.SlugRelatedField(
        slug_field="code", read_only=True
    )

    class Meta:
        model = Order
        fields = (
            "id",
            "source",
            "number",
            "customer",
            "brand",
            "placed_at",
            "received_at",
            "currency",
            "gross",
            "paid",
            "returned",
            "returned_at",
            "tax",
            "margin",
            "store",
            "offer_code",
        )


class OneOrderSerializer(OrderSerializer):
    lines = OrderLineSerializer(many=True, read_only=True)

    class Meta(OrderSerializer.Meta):
        fields = (*OrderSerializer.Meta.fields, "lines")  # type: ignore[assignment]


class OrderFilter(django_filters.FilterSet):
    placed_since = django_filters.IsoDateTimeFilter(field_name="placed_at", lookup_expr="gte")
    placed_until = django_filters.IsoDateTimeFilter(field_name="placed_at", lookup_expr="lt")

    class Meta:
        model = Order
        fields = ("customer", "source", "number", "offer_code")


class Orders(Guarded, generics.ListAPIView[Order]):
    """Orders, newest first."""

    serializer_class = OrderSerializer
    queryset = Order.objects.select_related("brand")
    filterset_class = OrderFilter
    write_roles = ()


class OneOrder(Guarded, generics.RetrieveAPIView[Order]):
    """One order with its lines."""

    serializer_class = OneOrderSerializer
    queryset = Order.objects.select_related("brand").prefetch_related("lines__product")
    write_roles = ()


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ("id", "sku", "name", "category", "subcategory", "maker", "attributes")


class Products(Guarded, generics.ListAPIView[Product]):
    """What is sold."""

    serializer_class = ProductSerializer
    queryset = Product.objects.all()
    filterset_fields = ("sku", "category", "subcategory", "maker")
    write_roles = ()


class BehaviourEventSerializer(serializers.ModelSerializer[BehaviourEvent]):
    class Meta:
        model = BehaviourEvent
        fields = (
            "id",
            "source",
            "source_key",
            "customer",
            "kind",
            "occurred_at",
            "received_at",
            "attributes",
        )


class EventFilter(django_filters.FilterSet):
    occurred_since = django_filters.IsoDateTimeFilter(field_name="occurred_at", lookup_expr="gte")
    occurred_until = django_filters.IsoDateTimeFilter(field_name="occurred_at", lookup_expr="lt")

    class Meta:
        model = BehaviourEvent
        fields = ("customer", "kind", "source")


class BehaviourEvents(Guarded, generics.ListAPIView[BehaviourEvent]):
    """What customers did outside campaigns, newest first."""

    serializer_class = BehaviourEventSerializer
    queryset = BehaviourEvent.objects.all()
    filterset_class = EventFilter
    write_roles = ()
