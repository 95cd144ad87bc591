"""Segments: the list, the builder, who is in one, fixed lists."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences import segment_form, segments_saved
from audiences.access import ANYBODY, Role, needs
from audiences.imports.reading import UnreadableFile
from audiences.models import Segment
from audiences.segments import compiling, counting, words
from audiences.segments.rules import InvalidRule
from audiences.views.customers import _with_identities
from audiences.vocabulary import Stage

SAMPLE = 8


@needs(*ANYBODY)
@require_safe
def segments(request: HttpRequest) -> HttpResponse:
    """All segments, by name."""
    asked, archived = request.GET.get("q", "").strip(), bool(request.GET.get("archived"))
    found = Segment.objects.select_related("created_by").filter(archived_at__isnull=not archived)
    if asked:
        found = found.filter(Q(name__icontains=asked) | Q(description__icontains=asked))
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    rows = [(one, words.in_words(one)) for one in page]
    context = {
        "page": page,
        "rows": rows,
        "words": asked,
        "archived": archived,
        "any": Segment.objects.exists(),
    }
    template = "audiences/_segments.html" if request.htmx else "audiences/segments.html"  # type: ignore[attr-defined]
    return render(request, template, context)


@needs(Role.MARKETER)
def new_segment(request: HttpRequest) -> HttpResponse:
    """Build a segment."""
    return _builder(request, Segment())


@needs(Role.MARKETER)
def edit_segment(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a segment's rule."""
    segment = get_object_or_404(Segment, pk=pk)
    if segment.rule is None:
        return redirect("audiences:segment", pk)
    return _builder(request, segment)


def _builder(request: HttpRequest, segment: Segment) -> HttpResponse:
    """The builder: every button posts the whole form; only "save" saves it."""
    error = ""
    if request.method == "POST":
        root = segment_form.from_form(request.POST)
        name, description = request.POST.get("name", ""), request.POST.get("description", "")
        action = request.POST.get("act", "")
        if action == "save":
            try:
                segments_saved.save(
                    segment,
                    name=name,
                    description=description,
                    rule=segment_form.to_rule(root),
                    user=request.user,
                )
            except InvalidRule as faults:
                segment_form.check_tree(root)
                error = "" if any(faults.faults) else str(faults)
                error = error or _("Mend what is marked below.")
            except ValueError as fault:
                error = str(fault)
            else:
                messages.success(
                    request, _("Saved. %(n)s people are in it now.") % {"n": f"{segment.counted:,}"}
                )
                return redirect("audiences:segment", segment.pk)
        elif action == "count":
            segment_form.check_tree(root)
        else:
            root = segment_form.act(root, action, request.POST)
    else:
        root = segment_form.from_rule(segment.rule)
        name, description = segment.name, segment.description
    context: dict[str, Any] = {
        "segment": segment,
        "root": root,
        "menu": segment_form.menu(),
        "name": name,
        "description": description,
        "error": error,
    }
    if request.htmx and not error and request.POST.get("act") != "save":  # type: ignore[attr-defined]
        part = render(request, "audiences/_builder.html", context)
        part["HX-Trigger-After-Settle"] = "builder-changed"  # the estimate beside it follows
        return part
    context |= _estimate(root)
    return render(request, "audiences/segment_builder.html", context, status=422 if error else 200)


@needs(*ANYBODY)
def segment_estimate(request: HttpRequest) -> HttpResponse:
    """The part beside the builder: the rule in words, how many, how they are reached."""
    root = segment_form.from_form(request.POST if request.method == "POST" else request.GET)
    return render(request, "audiences/_estimate.html", _estimate(root))


def _estimate(root: segment_form.Node) -> dict[str, Any]:
    """What the builder shows of a tree; nothing while it is empty or has a fault."""
    if not root.children:
        return {"empty": True}
    rule = segment_form.check_tree(root)
    if rule is None:
        faults = [fault for fault in _faults(root) if fault]
        return {"faults": faults}
    found = compiling.matching(rule)
    people = list(found.order_by("-pk")[:SAMPLE])
    _with_identities(people)
    return {
        "sentence": words.sentence(rule),
        "preview": counting.preview(found),
        "reach": segments_saved.estimate(found),
        "people": people,
        "stages": Stage.choices,
    }


def _faults(node: segment_form.Node) -> list[str]:
    return [node.fault, *(fault for child in node.children for fault in _faults(child))]


@needs(*ANYBODY)
@require_safe
def segment(request: HttpRequest, pk: int) -> HttpResponse:
    """One segment: what it says, how many, how they are reached, who they are."""
    one = get_object_or_404(Segment, pk=pk)
    asked = request.GET.get("q", "").strip()
    found = segments_saved.members(one, asked, request.GET.get("after", ""))
    _with_identities(found.customers)
    context: dict[str, Any] = {
        "segment": one,
        "found": found,
        "words": asked,
        "first_page": not request.GET.get("after"),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "audiences/_members.html", context)
    context |= {
        "sentence": words.in_words(one),
        "reach": segments_saved.estimate(compiling.customers(one)),
        "stages": Stage.choices,
    }
    return render(request, "audiences/segment.html", context)


@needs(Role.MARKETER)
@require_POST
def segment_count(request: HttpRequest, pk: int) -> HttpResponse:
    """Count it exactly, now."""
    n = segments_saved.count_again(get_object_or_404(Segment, pk=pk))
    messages.success(request, _("%(n)s people are in it now.") % {"n": f"{n:,}"})
    return redirect("audiences:segment", pk)


@needs(Role.MARKETER)
@require_POST
def segment_archive(request: HttpRequest, pk: int) -> HttpResponse:
    """Into the archive, or out of it."""
    one = get_object_or_404(Segment, pk=pk)
    try:
        if one.archived_at:
            one.archived_at = None
            one.save(update_fields=["archived_at"])
        else:
            segments_saved.archive(one)
    except ValueError as error:
        messages.error(request, str(error))
    return redirect("audiences:segment", pk)


@needs(Role.MARKETER)
@require_POST
def segment_freeze(request: HttpRequest, pk: int) -> HttpResponse:
    """A fixed list of those who are in it now."""
    one = get_object_or_404(Segment, pk=pk)
    try:
        frozen = segments_saved.freeze(request.POST.get("name", ""), one, user=request.user)
    except ValueError as error:
        messages.error(request, str(error))
        return redirect("audiences:segment", pk)
    messages.success(
        request,
        _("Made a list of %(n)s people; it does not change by itself.") % {"n": f"{frozen.counted:,}"},
    )
    return redirect("audiences:segment", frozen.pk)


@needs(Role.MARKETER)
@require_POST
def segment_remove_member(request: HttpRequest, pk: int, customer: int) -> HttpResponse:
    """Take somebody off a fixed list."""
    one = get_object_or_404(Segment, pk=pk, rule__isnull=True)
    segments_saved.remove_member(one, customer)
    return redirect("audiences:segment", pk)


@needs(Role.MARKETER)
def new_list(request: HttpRequest) -> HttpResponse:
    """A fixed list from pasted identities, or from a file; or more members for a list."""
    into = Segment.objects.filter(
        pk=request.GET.get("into") or request.POST.get("into") or 0, rule__isnull=True
    ).first()
    error = ""
    if request.method == "POST":
        file = request.FILES.get("file")
        try:
            if file is not None:
                return _list_from_file(request, file, into)
            told = segments_saved.list_of(
                request.POST.get("name", ""),
                segments_saved.split(request.POST.get("who", "")),
                description=request.POST.get("description", ""),
                user=request.user,
                segment=into,
            )
        except ValueError as fault:
            error = str(fault)
        else:
            messages.success(request, _("%(n)s people were put on the list.") % {"n": f"{told.added:,}"})
            if told.unknown:
                messages.warning(
                    request,
                    _("%(n)s are not known and were left out: %(some)s")
                    % {"n": f"{len(told.unknown):,}", "some": ", ".join(told.unknown[:10])},
                )
            return redirect("audiences:segment", told.segment.pk)
    context = {"error": error, "into": into, "given": request.POST}
    return render(request, "audiences/new_list.html", context, status=422 if error else 200)


def _list_from_file(request: HttpRequest, file: Any, into: Segment | None) -> HttpResponse:
    """The file becomes an import of list members; its page goes on from there."""
    from audiences.imports import batches

    name = into.name if into else request.POST.get("name", "").strip()
    if not name:
        raise ValueError(_("Give the segment a name."))
    if into is None and Segment.objects.filter(name=name).exists():
        raise ValueError(_("There is a segment of this name already."))
    try:
        batch = batches.receive(
            "lists", file.name, file, file.size, options={"list": name}, user=request.user
        )
    except UnreadableFile as fault:
        raise ValueError(str(fault)) from fault
    return redirect("audiences:import", batch.pk)
