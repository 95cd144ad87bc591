"""REST: customers, who an identity belongs to, consent, opt-out, merge, export, erasure."""

from typing import Any

import django_filters
from django.db.models import Prefetch, Q, QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences import consent, erasure, finding, identity, personal_export
from audiences import merge as merging
from audiences.access import ANYBODY, Role, RolePermission
from audiences.models import Brand, Consent, ContactState, Customer, CustomerTag, Identity, Merge
from audiences.vocabulary import IdentityKind, Medium, Purpose, Stage


class Guarded:
    """Everybody with a role reads, marketers write."""

    permission_classes: Any = (RolePermission,)
    read_roles: tuple[str, ...] = ANYBODY
    write_roles: tuple[str, ...] = (Role.MARKETER,)


class IdentitySerializer(serializers.ModelSerializer[Identity]):
    class Meta:
        model = Identity
        fields = ("kind", "issuer", "value", "source", "invalid_at", "invalid_reason", "created_at")


class CustomerSerializer(serializers.ModelSerializer[Customer]):
    """``merged_into``: the survivor, for a customer who was absorbed."""

    class Meta:
        model = Customer
        fields = (
            "id",
            "name",
            "gender",
            "birth_date",
            "birth_calendar",
            "language",
            "zone",
            "country",
            "province",
            "city",
            "stage",
            "attributes",
            "merged_into",
            "erased_at",
            "created_at",
            "updated_at",
        )


class ConsentSerializer(serializers.ModelSerializer[Consent]):
    brand: serializers.SlugRelatedField[Brand] = serializers.SlugRelatedField(
        slug_field="code", read_only=True
    )

    class Meta:
        model = Consent
        fields = ("brand", "medium", "purpose", "status", "source", "occurred_at", "received_at")


class ContactStateSerializer(serializers.ModelSerializer[ContactState]):
    """Entries are ``purpose:brand:medium``; ``*`` is every brand or medium. Blocked wins."""

    class Meta:
        model = ContactState
        fields = ("allowed", "blocked", "erased", "absorbed")


class OneCustomerSerializer(CustomerSerializer):
    identities = IdentitySerializer(many=True, read_only=True)
    consents = ConsentSerializer(many=True, read_only=True)
    tags = serializers.SerializerMethodField()
    contact_state = ContactStateSerializer(read_only=True)

    class Meta(CustomerSerializer.Meta):
        fields = (*CustomerSerializer.Meta.fields, "identities", "consents", "tags", "contact_state")  # type: ignore[assignment]

    def get_tags(self, customer: Customer) -> list[str]:
        return [row.tag.name for row in customer.tag_rows.all()]


class CustomerFilter(django_filters.FilterSet):
    q = django_filters.CharFilter(
        method="search", help_text="An identity, our number, or the beginning of a name."
    )
    stage = django_filters.ChoiceFilter(choices=Stage.choices)
    tag = django_filters.CharFilter(field_name="tag_rows__tag__name", help_text="Name of a tag.")
    updated_since = django_filters.IsoDateTimeFilter(field_name="updated_at", lookup_expr="gte")

    class Meta:
        model = Customer
        fields = ("stage",)

    def search(self, found: QuerySet[Customer], _name: str, words: str) -> QuerySet[Customer]:
        ids = finding.by_identity(words)
        return found.filter(Q(pk__in=ids) | Q(name__istartswith=words))


class Customers(Guarded, generics.ListAPIView[Customer]):
    """Customers who stand for themselves, newest first. Written by POST /customers/batch/."""

    serializer_class = CustomerSerializer
    queryset = Customer.objects.filter(merged_into=None, erased_at=None)
    filterset_class = CustomerFilter
    write_roles = ()


class OneCustomer(Guarded, generics.RetrieveAPIView[Customer]):
    """One customer with identities, consents, tags and what may be done with them."""

    serializer_class = OneCustomerSerializer
    queryset = Customer.objects.select_related("contact_state").prefetch_related(
        "identities",
        Prefetch("consents", Consent.objects.select_related("brand")),
        Prefetch("tag_rows", CustomerTag.objects.select_related("tag")),
    )
    write_roles = ()


class IdentityOwnerSerializer(serializers.Serializer[Any]):
    customer = serializers.IntegerField(help_text="Always a survivor, never an absorbed customer.")
    value = serializers.CharField(help_text="The identity in its normal form.")


class Lookup(Guarded, APIView):
    """Whose identity is it?"""

    write_roles = ()

    @extend_schema(
        operation_id="identities_lookup",
        parameters=[
            OpenApiParameter("kind", OpenApiTypes.STR, required=True, enum=IdentityKind.values),
            OpenApiParameter("issuer", OpenApiTypes.STR),
            OpenApiParameter("value", OpenApiTypes.STR, required=True),
        ],
        responses={200: IdentityOwnerSerializer, 404: OpenApiResponse(description="Nobody's.")},
    )
    def get(self, request: Request) -> Response:
        kind, issuer = request.query_params.get("kind", ""), request.query_params.get("issuer", "")
        try:
            value = identity.normalise(kind, issuer, request.query_params.get("value", ""))
        except ValueError as error:
            raise serializers.ValidationError({"value": str(error)}) from None
        owner = identity.find((kind, issuer, value))
        if owner is None:
            return Response({"detail": _("Nobody has this identity.")}, status=404)
        return Response({"customer": owner, "value": value})


class _BrandField(serializers.SlugRelatedField[Brand]):
    def __init__(self, **more: Any) -> None:
        super().__init__(slug_field="code", queryset=Brand.objects.all(), **more)


class ConsentToldSerializer(serializers.Serializer[Any]):
    """One event of consent. An older one never overrides a newer one."""

    brand = _BrandField()
    medium = serializers.ChoiceField(choices=Medium.choices)
    purpose = serializers.ChoiceField(choices=Purpose.choices, default=Purpose.CONTACT)
    status = serializers.ChoiceField(choices=Consent.Status.choices)
    source = serializers.CharField(max_length=120)  # type: ignore[assignment]
    occurred_at = serializers.DateTimeField(help_text="When the person said so, with zone.")
    asked_for = serializers.BooleanField(
        default=False,
        help_text="The person asked for it themselves: lifts an earlier opt-out of this medium and brand.",
    )


class ConsentChangedSerializer(serializers.Serializer[Any]):
    changed = serializers.BooleanField()


class Consents(Guarded, APIView):
    """The consents of a customer; one more event about one."""

    @extend_schema(operation_id="customer_consents_list", responses=ConsentSerializer(many=True))
    def get(self, request: Request, pk: int) -> Response:
        one = identity.survivor(get_object_or_404(Customer, pk=pk).pk)
        rows = Consent.objects.filter(customer_id=one).select_related("brand").order_by("pk")
        return Response(ConsentSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="customer_consents_tell",
        request=ConsentToldSerializer,
        responses=ConsentChangedSerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        get_object_or_404(Customer, pk=pk)
        asked = ConsentToldSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        where = (pk, told["brand"].pk, told["medium"], told["source"], told["occurred_at"], told["purpose"])
        if told["status"] == Consent.Status.GRANTED:
            return Response({"changed": consent.grant(*where, lift=told["asked_for"])})
        return Response({"changed": consent.withdraw(*where)})


class OptOutSerializer(serializers.Serializer[Any]):
    medium = serializers.ChoiceField(
        choices=[("", "every medium"), *Medium.choices],
        default="",
        allow_blank=True,
        help_text="Empty: every medium.",
    )
    brand = _BrandField(required=False, allow_null=True, default=None, help_text="Left out: every brand.")
    reason = serializers.CharField(max_length=120, default="asked")
    source = serializers.CharField(max_length=120, default="API")  # type: ignore[assignment]
    occurred_at = serializers.DateTimeField(required=False, help_text="Left out: now.")


class OptOut(Guarded, APIView):
    """The person wants no more of it. Their addresses go on the do-not-contact list, by hash."""

    write_roles = (Role.MARKETER, Role.CHANNEL_ADMIN)

    @extend_schema(
        operation_id="customer_opt_out", request=OptOutSerializer, responses=ConsentChangedSerializer
    )
    def post(self, request: Request, pk: int) -> Response:
        get_object_or_404(Customer, pk=pk)
        asked = OptOutSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        brand = told["brand"].pk if told["brand"] else None
        changed = consent.opt_out(
            pk, told["medium"], brand, told["reason"], told["source"], told.get("occurred_at")
        )
        return Response({"changed": changed})


class CustomerMergeSerializer(serializers.ModelSerializer[Merge]):
    class Meta:
        model = Merge
        fields = ("id", "absorbed", "survivor", "reason", "merged_by", "merged_at", "undone_at", "undone_by")
        read_only_fields = ("id", "survivor", "merged_by", "merged_at", "undone_at", "undone_by")


class Merges(Guarded, APIView):
    """Two customers are one: the absorbed one is merged into this one."""

    @extend_schema(operation_id="customer_merges_list", responses=CustomerMergeSerializer(many=True))
    def get(self, request: Request, pk: int) -> Response:
        rows = Merge.objects.filter(survivor=get_object_or_404(Customer, pk=pk)).order_by("-pk")
        return Response(CustomerMergeSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="customer_merge",
        request=CustomerMergeSerializer,
        responses={201: CustomerMergeSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        get_object_or_404(Customer, pk=pk)
        asked = CustomerMergeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told: Any = asked.validated_data
        try:
            one = merging.merge(
                told["absorbed"].pk,
                pk,
                reason=told["reason"],
                by=request.user.get_username(),
                now=timezone.now(),
            )
        except ValueError as error:
            raise serializers.ValidationError({"detail": str(error)}) from None
        return Response(CustomerMergeSerializer(one).data, status=201)


class UndoMerge(Guarded, APIView):
    """Part two customers who were merged."""

    @extend_schema(operation_id="merge_undo", request=None, responses=CustomerMergeSerializer)
    def post(self, request: Request, pk: int) -> Response:
        get_object_or_404(Merge, pk=pk)
        try:
            one = merging.undo(pk, by=request.user.get_username(), now=timezone.now())
        except ValueError as error:
            raise serializers.ValidationError({"detail": str(error)}) from None
        return Response(CustomerMergeSerializer(one).data)


class Export(Guarded, APIView):
    """Everything known of the person, as they may ask for it; recorded."""

    @extend_schema(operation_id="customer_export", request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, pk: int) -> Response:
        get_object_or_404(Customer, pk=pk)
        return Response(
            personal_export.export(pk, requested_by=request.user.get_username(), now=timezone.now())
        )


class CustomerErasedSerializer(serializers.Serializer[Any]):
    customers = serializers.IntegerField()
    identities = serializers.IntegerField()
    suppressed = serializers.IntegerField()


class Erase(Guarded, APIView):
    """Forget the person. This cannot be undone."""

    @extend_schema(operation_id="customer_erase", request=None, responses=CustomerErasedSerializer)
    def post(self, request: Request, pk: int) -> Response:
        get_object_or_404(Customer, pk=pk)
        try:
            done = erasure.erase(pk, requested_by=request.user.get_username(), now=timezone.now())
        except ValueError as error:
            raise serializers.ValidationError({"detail": str(error)}) from None
        return Response(done.result)
