"""A job: its page, its progress, its cancel button."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences import jobs as runner
from audiences.access import ANYBODY, needs
from audiences.models import Job

STOP_POLLING = 286  # htmx swaps the answer and asks no more


def _seen(request: HttpRequest, pk: int) -> Job:
    job = get_object_or_404(Job, pk=pk)
    if not runner.may_see(request.user, job):
        raise PermissionDenied(_("This work belongs to other roles."))
    return job


def _after(request: HttpRequest, job: Job) -> str:
    """Where to go when it is done: what the caller said, else what the work told; only addresses of ours."""
    for url in (request.GET.get("after", ""), str(job.result.get("url", ""))):
        if url and url_has_allowed_host_and_scheme(url, allowed_hosts=None):
            return url
    return ""


@needs(*ANYBODY)
@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """Long work, newest first."""
    seen = [name for name in runner.job_kinds.names() if runner.may_see(request.user, Job(kind=name))]
    found = Job.objects.select_related("created_by").filter(kind__in=seen)
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    labels = {name: kind.label for name, kind in runner.job_kinds.items()}
    return render(request, "audiences/jobs.html", {"page": page, "labels": labels})


@needs(*ANYBODY)
@require_safe
def job(request: HttpRequest, pk: int) -> HttpResponse:
    """One piece of long work, followed until it ends."""
    found = _seen(request, pk)
    kinds = runner.job_kinds
    label = kinds.get(found.kind).label if found.kind in kinds else found.kind
    return render(
        request, "audiences/job.html", {"job": found, "label": label, "after": _after(request, found)}
    )


@needs(*ANYBODY)
@require_safe
def job_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of a page that shows progress; status 286 ends the polling."""
    return _part(request, _seen(request, pk))


@needs(*ANYBODY)
@require_POST
def job_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks the work to stop."""
    found = _seen(request, pk)
    if not runner.cancel(found.pk) and not request.headers.get("HX-Request"):
        messages.info(request, _("It had ended already."))
    found.refresh_from_db()
    if request.headers.get("HX-Request"):
        return _part(request, found)
    return redirect("audiences:job", pk=found.pk)


def _part(request: HttpRequest, found: Job) -> HttpResponse:
    ended = found.finished_at is not None
    answer = render(
        request,
        "parts/job.html",
        {"job": found, "after": _after(request, found)},
        status=STOP_POLLING if ended else 200,
    )
    if ended:
        answer["HX-Trigger"] = "job-finished"
    return answer
