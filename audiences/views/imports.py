"""Imports: give a file, say which column is which, watch it load, see what came of it."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Min
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, has_role, needs
from audiences.imports import batches
from audiences.imports.mapping import IGNORE
from audiences.imports.reading import RESERVED, UnreadableFile
from audiences.models import Brand, ImportBatch
from audiences.registers import ImportKind, import_kinds

LOADERS = (Role.MARKETER, Role.CHANNEL_ADMIN, Role.FINANCE)
SHOWN_BAD_ROWS = 50
COUNT_NAMES: Mapping[str, Any] = {
    "merged": _lazy("customers merged"),
    "consents": _lazy("consents recorded"),
    "grants_suppressed": _lazy("grants left out: the person is on the do-not-contact list"),
    "customers_created": _lazy("customers created"),
    "tag_groups_changed": _lazy("tag groups changed"),
    "blocked": _lazy("known customers blocked"),
    "listed": _lazy("addresses put on the list"),
}
"""What a kind counts beside new, changed and same."""


def _kinds(request: HttpRequest) -> list[tuple[str, ImportKind]]:
    """The kinds this person may load."""
    return [(name, kind) for name, kind in import_kinds.items() if has_role(request.user, kind.role)]


def _batch(request: HttpRequest, pk: int, *, write: bool = False) -> tuple[ImportBatch, ImportKind]:
    batch = get_object_or_404(ImportBatch.objects.select_related("job", "created_by"), pk=pk)
    if batch.kind not in import_kinds:
        raise Http404
    kind = import_kinds.get(batch.kind)
    if write and not has_role(request.user, kind.role):
        raise PermissionDenied(_("Your roles do not permit this. Ask an administrator."))
    return batch, kind


@needs(*ANYBODY)
@require_safe
def imports(request: HttpRequest) -> HttpResponse:
    """What was loaded, newest first."""
    kind = request.GET.get("kind", "")
    found = ImportBatch.objects.select_related("created_by", "job")
    if kind in import_kinds:
        found = found.filter(kind=kind)
    return render(
        request,
        "audiences/imports.html",
        {
            "page": Paginator(found, 50).get_page(request.GET.get("page")),
            "kind": kind,
            "kinds": import_kinds.items(),
            "labels": {name: one.label for name, one in import_kinds.items()},
            "may_load": bool(_kinds(request)),
        },
    )


@needs(*LOADERS)
def new_import(request: HttpRequest) -> HttpResponse:
    """Give a file, and say what its rows are."""
    kinds = _kinds(request)
    chosen = request.POST.get("kind") or request.GET.get("kind", "")
    error = ""
    if request.method == "POST":
        file = request.FILES.get("file")
        if chosen not in dict(kinds):
            error = _("Say what the rows of the file are.")
        elif file is None:
            error = _("Choose a file.")
        else:
            try:
                batch = batches.receive(chosen, file.name or "file", file, file.size or 0, user=request.user)
            except UnreadableFile as fault:
                error = str(fault)
            else:
                return redirect("audiences:import", batch.pk)
    context = {
        "kinds": kinds,
        "chosen": chosen,
        "error": error,
        "largest": batches.LARGEST_UPLOAD >> 20,
    }
    return render(request, "audiences/new_import.html", context, status=422 if error else 200)


@needs(*ANYBODY)
@require_safe
def import_columns(request: HttpRequest, kind: str) -> HttpResponse:
    """A file with the headers of a kind, to be filled."""
    if kind not in import_kinds:
        raise Http404
    header = ",".join(column.name for column in import_kinds.get(kind).columns)
    return HttpResponse(
        "\ufeff" + header + "\r\n",
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{kind}.csv"'},
    )


@needs(*ANYBODY, write=LOADERS)
def one_import(request: HttpRequest, pk: int) -> HttpResponse:
    """One import: its mapping while it waits, its progress, then what came of it."""
    batch, kind = _batch(request, pk, write=request.method == "POST")
    waiting = batch.state in (
        ImportBatch.State.WAITING,
        ImportBatch.State.FAILED,
        ImportBatch.State.CANCELLED,
    )
    error = ""
    if request.method == "POST" and waiting:
        _take_answers(batch, kind, request.POST)
        try:
            batches.start(batch, request.user)
        except UnreadableFile as fault:
            error = str(fault)
        else:
            return redirect("audiences:import", batch.pk)
    if waiting and batch.path:
        return _mapping_page(request, batch, kind, error)
    if batch.state == ImportBatch.State.RUNNING:
        return render(
            request,
            "audiences/import_running.html",
            {"batch": batch, "kind": kind, "job": batch.job, "after": reverse("audiences:import", args=[pk])},
        )
    return _result_page(request, batch, kind)


def _take_answers(batch: ImportBatch, kind: ImportKind, answers: Mapping[str, Any]) -> None:
    """Keep the mapping and the options of the form with the batch."""
    header = batch.options.get("header", [])
    mapping = {}
    for n, name in enumerate(header):
        ours = answers.get(f"column-{n}", "")
        if ours in {column.name for column in kind.columns}:
            mapping[ours] = name
    # What the user left out must stay out, even where the header would be recognised.
    for ours in batches.recognised(batch):
        mapping.setdefault(ours, IGNORE)
    options: dict[str, Any] = {"header": header}
    if batch.options.get("list"):
        options["list"] = batch.options["list"]
    if answers.get("zone") in available_timezones():
        options["zone"] = answers["zone"]
    if Brand.objects.filter(code=answers.get("brand", "")).exists():
        options["brand"] = answers["brand"]
    if answers.get("system", "").strip():
        options["system"] = answers["system"].strip()[:80]
    if answers.get("create"):
        options["create"] = True
    if answers.get("keep_apart"):
        options["merge"] = "refuse"
    batch.mapping, batch.options = mapping, options
    batch.save(update_fields=["mapping", "options"])


def _mapping_page(request: HttpRequest, batch: ImportBatch, kind: ImportKind, error: str) -> HttpResponse:
    try:
        source, rows = batches.look(batch)
    except (UnreadableFile, OSError, EOFError) as fault:
        messages.error(request, str(fault))
        source, rows = None, []
    header = batch.options.get("header", [])
    ours = {name: column for column, name in batches.recognised(batch).items()}
    columns = [
        {
            "n": n,
            "name": name,
            "ours": ours.get(name, ""),
            "samples": [row[n] for row in rows if len(row) > n and row[n]][:3],
        }
        for n, name in enumerate(header)
        if name not in RESERVED
    ]
    names = {column.name for column in kind.columns}
    context = {
        "batch": batch,
        "kind": kind,
        "columns": columns,
        "recognised": sum(bool(column["ours"]) for column in columns),
        "required": [column for column in kind.columns if column.required],
        "source": source,
        "error": error or batch.error,
        "brands": Brand.objects.order_by("pk"),
        "zones": sorted(available_timezones()),
        "zone": batch.options.get("zone") or settings.TIME_ZONE,
        "names_customers": "phone" in names,
        "is_customers": batch.kind == "customers",
        "may_load": has_role(request.user, kind.role),
        "has_times": any(column.kind == "datetime" for column in kind.columns),
    }
    return render(request, "audiences/import_columns.html", context, status=422 if error else 200)


def _result_page(request: HttpRequest, batch: ImportBatch, kind: ImportKind) -> HttpResponse:
    lines = batch.bad_rows.values("line").annotate(first=Min("pk")).order_by("line")
    page = Paginator(lines, SHOWN_BAD_ROWS).get_page(request.GET.get("page"))
    shown = [row["line"] for row in page]
    by_line: dict[int, list[Any]] = {line: [] for line in shown}
    for row in batch.bad_rows.filter(line__in=shown).order_by("line", "pk"):
        by_line[row.line].append(row)
    try:
        loaded_url = reverse(kind.url_name) if kind.url_name else ""
    except NoReverseMatch:
        loaded_url = ""
    labels = {column.name: column.label for column in kind.columns}
    return render(
        request,
        "audiences/import_result.html",
        {
            "batch": batch,
            "kind": kind,
            "page": page,
            "bad_rows": list(by_line.items()),
            "sums": [(labels.get(name, name), sums) for name, sums in batch.totals.get("sums", {}).items()],
            "counts": {name: n for name, n in batch.totals.get("counts", {}).items() if n},
            "names": COUNT_NAMES,
            "loaded_url": loaded_url,
            "may_load": has_role(request.user, kind.role),
            "removable": kind.remove is not None and batch.state == ImportBatch.State.DONE,
            "labels": labels,
            "mapped": [
                (labels.get(ours, ours), theirs) for ours, theirs in batches.recognised(batch).items()
            ],
        },
    )


@needs(*LOADERS)
@require_safe
def import_bad_rows(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The refused rows as a file to mend and load again."""
    batch, _kind = _batch(request, pk)
    return StreamingHttpResponse(
        batches.bad_rows_file(batch),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="import-{pk}-refused.csv"'},
    )


@needs(*LOADERS)
@require_POST
def import_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Take back what a file brought."""
    batch, _kind = _batch(request, pk, write=True)
    try:
        gone = batches.remove(batch, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, _("%(n)s rows were taken back; whatever was used since stays.") % {"n": f"{gone:,}"}
        )
    return redirect("audiences:import", pk)


@needs(*LOADERS)
@require_POST
def import_discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget a file that was never loaded."""
    batch, _kind = _batch(request, pk, write=True)
    try:
        batches.discard(batch)
    except ValueError as error:
        messages.error(request, str(error))
        return redirect("audiences:import", pk)
    messages.success(request, _("The file was forgotten; nothing of it was loaded."))
    return redirect("audiences:imports")
