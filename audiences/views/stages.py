"""Stages and scores: which segment is which stage, and computing them anew."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from audiences import jobs, scores
from audiences import stages as rules
from audiences.access import ANYBODY, Role, needs
from audiences.models import Segment
from audiences.vocabulary import Stage


@needs(*ANYBODY, write=(Role.MARKETER,))
def stages(request: HttpRequest) -> HttpResponse:
    """How many are of each stage, by which segment, and what scores there are."""
    if request.method == "POST":
        asked = {
            stage: int(value) if (value := request.POST.get(f"segment-{stage}", "")).isdigit() else None
            for stage in rules.RULED
        }
        try:
            rules.set_segments(asked)
        except ValueError as error:
            messages.error(request, str(error))
            return redirect("audiences:stages")
        messages.success(request, _("Saved. Stages are found anew every night, or now."))
        return redirect("audiences:stages")
    counts, chosen = rules.counts(), rules.of_segments()
    rows = [
        {
            "stage": stage,
            "label": label,
            "n": counts.get(stage, 0),
            "ruled": stage in chosen,
            "segment": chosen.get(stage),
        }
        for stage, label in reversed(Stage.choices)
    ]
    return render(
        request,
        "audiences/stages.html",
        {
            "rows": rows,
            "segments": Segment.objects.filter(archived_at=None),
            "ruled": any(chosen.values()),
            "scores": scores.known(),
        },
    )


@needs(Role.MARKETER)
@require_POST
def stages_recompute(request: HttpRequest) -> HttpResponse:
    """Find the stage of everybody, by a worker."""
    return redirect("audiences:job", jobs.start("stages", "stages", {}, request.user).pk)


@needs(Role.MARKETER)
@require_POST
def scores_recompute(request: HttpRequest) -> HttpResponse:
    """Compute RFM, by a worker."""
    return redirect("audiences:job", jobs.start("rfm", "scores", {}, request.user).pk)
