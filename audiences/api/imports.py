"""REST: rows in, by file or by call. The columns are those of ``docs/imports.md``."""

from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    inline_serializer,
)
from rest_framework import generics, serializers
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences.access import ANYBODY, Role, RolePermission, has_role
from audiences.api.people import Guarded
from audiences.imports import batches
from audiences.imports.loading import Busy
from audiences.imports.reading import UnreadableFile
from audiences.models import BadRow, Brand, ImportBatch
from audiences.registers import ImportKind, import_kinds

LOADERS = (Role.MARKETER, Role.CHANNEL_ADMIN, Role.FINANCE)
OTHER_NAMES = {"events": "behaviours"}
"""Kinds that paths know by another word."""
TOLD_BAD_ROWS = 100


class Loading(Guarded):
    write_roles = LOADERS


def _kind(request: Request, name: str) -> tuple[str, ImportKind]:
    name = OTHER_NAMES.get(name, name)
    if name not in import_kinds:
        raise NotFound(
            _("There is no kind %(name)s. Known: %(known)s.")
            % {"name": name, "known": ", ".join(import_kinds.names())}
        )
    kind = import_kinds.get(name)
    if request.method == "POST" and not has_role(request.user, kind.role):  # type: ignore[arg-type]
        raise PermissionDenied(_("Your roles do not permit loading this kind."))
    return name, kind


class ImportOptionsSerializer(serializers.Serializer[Any]):
    """How rows are to be understood."""

    brand = serializers.SlugRelatedField(
        slug_field="code",
        queryset=Brand.objects.all(),
        required=False,
        help_text="Left out: the first brand.",
    )
    zone = serializers.CharField(required=False, help_text="Zone of times without one.")
    system = serializers.CharField(
        required=False, max_length=80, help_text="Issuer of external ids without one."
    )
    create = serializers.BooleanField(default=False, help_text="Create customers that nobody knows yet.")  # type: ignore[assignment]
    keep_apart = serializers.BooleanField(
        default=False, help_text="Refuse rows that carry identities of two customers instead of merging them."
    )

    def chosen(self) -> dict[str, Any]:
        told = dict(self.validated_data)
        found: dict[str, Any] = {name: told[name] for name in ("zone", "system", "create") if told.get(name)}
        if told.get("brand"):
            found["brand"] = told["brand"].code
        if told.get("keep_apart"):
            found["merge"] = "refuse"
        return found


class BadRowSerializer(serializers.ModelSerializer[BadRow]):
    class Meta:
        model = BadRow
        fields = ("line", "column", "value", "reason", "raw")


class ImportSerializer(serializers.ModelSerializer[ImportBatch]):
    """``totals.sums``: amounts as read, as refused and as stored. ``job``: see /jobs/."""

    class Meta:
        model = ImportBatch
        fields = (
            "id",
            "kind",
            "name",
            "state",
            "job",
            "mapping",
            "rows_read",
            "rows_new",
            "rows_changed",
            "rows_same",
            "rows_bad",
            "totals",
            "error",
            "sha256",
            "size",
            "created_at",
            "finished_at",
        )
        read_only_fields = fields


class ImportFileSerializer(ImportOptionsSerializer):
    kind = serializers.CharField()
    file = serializers.FileField(help_text="CSV, .csv.gz or .xlsx, at most 100 MB.")
    mapping = serializers.JSONField(
        required=False,
        help_text='Our column → header of the file, where it is not recognised: {"phone": "Handy"}.',
    )

    def validate_mapping(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise serializers.ValidationError(_("An object of our column → header is wanted."))
        return value


class Imports(Loading, generics.ListAPIView[ImportBatch]):
    """Imports, newest first; a POST uploads a file, which a worker loads."""

    serializer_class = ImportSerializer
    queryset = ImportBatch.objects.all()
    filterset_fields = ("kind", "state")
    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="imports_create", request=ImportFileSerializer, responses={202: ImportSerializer}
    )
    def post(self, request: Request) -> Response:
        asked = ImportFileSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        name, _kind_ = _kind(request, told["kind"])
        file = told["file"]
        try:
            batch = batches.receive(
                name,
                file.name,
                file,
                file.size,
                mapping=told.get("mapping"),
                options=asked.chosen(),
                user=request.user,
            )
            try:
                batches.start(batch, request.user)
            except UnreadableFile:
                batches.discard(batch)
                raise
        except UnreadableFile as error:
            raise serializers.ValidationError({"file": [str(error)]}) from None
        return Response(ImportSerializer(batch).data, status=202)


class OneImport(Loading, generics.RetrieveAPIView[ImportBatch]):
    """How an import goes, or went."""

    serializer_class = ImportSerializer
    queryset = ImportBatch.objects.all()


class BadRows(Guarded, generics.ListAPIView[BadRow]):
    """What was refused of an import, newest line first."""

    serializer_class = BadRowSerializer
    queryset = BadRow.objects.none()
    read_roles = LOADERS
    write_roles = ()

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return BadRow.objects.none()
        return BadRow.objects.filter(batch_id=self.kwargs["pk"])


class BadRowsFile(Guarded, APIView):
    """What was refused, as a CSV file to mend and load again."""

    read_roles = LOADERS
    write_roles = ()

    @extend_schema(operation_id="imports_bad_rows_file", responses={(200, "text/csv"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: int) -> StreamingHttpResponse | HttpResponse:
        batch = generics.get_object_or_404(ImportBatch, pk=pk)
        return StreamingHttpResponse(batches.bad_rows_file(batch), content_type="text/csv; charset=utf-8")


class RemoveImport(Loading, APIView):
    """Take back what an import brought."""

    @extend_schema(
        operation_id="imports_remove",
        request=None,
        responses=inline_serializer("ImportRemoved", {"removed": serializers.IntegerField()}),
    )
    def post(self, request: Request, pk: int) -> Response:
        batch = generics.get_object_or_404(ImportBatch, pk=pk)
        _kind(request, batch.kind)
        try:
            return Response({"removed": batches.remove(batch, request.user)})
        except ValueError as error:
            raise serializers.ValidationError({"detail": str(error)}) from None


class ImportColumnSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    help = serializers.CharField()
    kind = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]
    choices = serializers.ListField(child=serializers.CharField())
    aliases = serializers.ListField(child=serializers.CharField())


class ImportKindSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    help = serializers.CharField()
    role = serializers.CharField()
    columns = ImportColumnSerializer(many=True)
    takes_other_columns = serializers.BooleanField()
    removable = serializers.BooleanField()


class Kinds(Guarded, APIView):
    """What can be loaded, with its columns."""

    write_roles = ()

    @extend_schema(operation_id="import_kinds_list", responses=ImportKindSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(
            [
                {
                    "name": name,
                    "label": str(kind.label),
                    "help": str(kind.help),
                    "role": kind.role,
                    "takes_other_columns": kind.takes_other_columns,
                    "removable": kind.remove is not None,
                    "columns": [
                        {
                            "name": column.name,
                            "label": str(column.label),
                            "help": str(column.help),
                            "kind": column.kind,
                            "required": column.required,
                            "choices": list(column.choices),
                            "aliases": list(column.aliases),
                        }
                        for column in kind.columns
                    ],
                }
                for name, kind in import_kinds.items()
            ]
        )


@extend_schema_field(
    {"type": "array", "items": {"type": "object", "additionalProperties": {}}, "minItems": 1,
     "maxItems": batches.LARGEST_CALL}
)  # fmt: skip
class RowsField(serializers.Field[Any, Any, Any, Any]):
    """A list of objects, looked at once: what their values are is for the load to say, row by row."""

    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        if not isinstance(data, list) or not data:
            raise serializers.ValidationError(_("A list of at least one row is wanted."))
        if len(data) > batches.LARGEST_CALL:
            raise serializers.ValidationError(
                _("One call takes %(n)s rows; send several, or a file.") % {"n": f"{batches.LARGEST_CALL:,}"}
            )
        for n, row in enumerate(data, 1):
            if not isinstance(row, dict):
                raise serializers.ValidationError(_("Row %(n)s is not an object.") % {"n": n})
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class BatchRowsSerializer(ImportOptionsSerializer):
    rows = RowsField(help_text="Objects whose keys are the columns of the kind.")


class BatchLoadedSerializer(serializers.Serializer[Any]):
    """``bad_rows``: the first hundred; the rest under /imports/{id}/bad-rows/. ``line``: place in the call, from 1."""

    id = serializers.IntegerField()
    read = serializers.IntegerField()
    new = serializers.IntegerField()
    changed = serializers.IntegerField()
    same = serializers.IntegerField()
    bad = serializers.IntegerField()
    totals = serializers.DictField()
    bad_rows = BadRowSerializer(many=True)


class Batch(Guarded, APIView):
    """Rows of any kind: the good ones are loaded, the bad ones told. Loading the same rows again changes nothing."""

    permission_classes = (RolePermission,)
    read_roles = ANYBODY
    write_roles = LOADERS

    @extend_schema(
        operation_id="batch_load",
        parameters=[
            OpenApiParameter(
                "kind", OpenApiTypes.STR, OpenApiParameter.PATH,
                description="customers, orders, order_lines, products, events, consents, tags, suppressions, "
                "touches, responses, costs… (see /import-kinds/)",
            )
        ],
        request=BatchRowsSerializer,
        responses={
            200: BatchLoadedSerializer,
            503: OpenApiResponse(description="A load of the kind is running; ask again after Retry-After."),
        },
    )  # fmt: skip
    def post(self, request: Request, kind: str) -> Response:
        name, _found = _kind(request, kind)
        asked = BatchRowsSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            batch = batches.load_rows(
                name, asked.validated_data["rows"], options=asked.chosen(), user=request.user
            )
        except UnreadableFile as error:
            raise serializers.ValidationError({"rows": [str(error)]}) from None
        except Busy:
            return Response(
                {"detail": _("A load of this kind is running. Ask again in a moment.")},
                status=503,
                headers={"Retry-After": "10"},
            )
        bad = batch.bad_rows.order_by("line", "pk")[:TOLD_BAD_ROWS]
        told = {"id": batch.pk, **batches.told(batch), "totals": batch.totals, "bad_rows": bad}
        return Response(BatchLoadedSerializer(told).data)
