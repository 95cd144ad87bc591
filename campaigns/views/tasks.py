"""Touches made by people, for a phone: whom to call, until when, and what became of it."""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

from django.contrib import messages
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences.access import Role, has_role, needs
from campaigns import contacts, kol, manual, people_tasks
from campaigns.at_work import at_work, employees_of, may_see, only_employee
from campaigns.models import Campaign, PeopleTask
from channels import kol as posts
from channels.models import Channel, Employee, KolPlacement

PAGE = 50
ASSIGNERS = (Role.MARKETER, Role.CHANNEL_ADMIN)

LATE, TODAY, LATER = "late", "today", "later"


@at_work
@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    """Open tasks, the most urgent first, late ones above those of today; those of one employee, or all."""
    user, now = cast(AbstractUser, request.user), timezone.now()
    wanted = request.GET.get("of", "")
    state = request.GET.get("state", PeopleTask.State.OPEN)
    found = PeopleTask.objects.select_related("channel", "customer", "employee")
    own, limited = employees_of(user), only_employee(user)
    if limited or (own and wanted in ("", "mine")):
        chosen = "mine"
        found = found.filter(employee__in=own)
    elif wanted.isdecimal():
        chosen = wanted
        found = found.filter(employee_id=int(wanted))
    else:
        chosen = "all"
    if state in PeopleTask.State.values:
        found = found.filter(state=state)
    page = Paginator(found.order_by("due_at", "pk"), PAGE).get_page(request.GET.get("page"))
    campaigns = Campaign.objects.in_bulk({task.campaign_id for task in page if task.campaign_id})
    just = request.GET.get("just", "")
    undoable = PeopleTask.objects.filter(pk=just).first() if just.isdecimal() else None
    if undoable and not (people_tasks.can_undo(undoable, now) and may_see(user, undoable)):
        undoable = None
    return render(
        request,
        "campaigns/tasks.html",
        {
            "page": page,
            "rows": [
                {"task": task, "campaign": campaigns.get(task.campaign_id or 0), "when": _when(task, now)}
                for task in page
            ],
            "chosen": chosen,
            "own": own,
            "limited": limited,
            "state": state,
            "states": PeopleTask.State.choices,
            "employees": [] if limited else Employee.objects.filter(left_at=None).order_by("name")[:200],
            "undoable": undoable,
            "undoable_outcome": people_tasks.OUTCOMES.get(undoable.outcome, "") if undoable else "",
        },
    )


def _when(task: PeopleTask, now: datetime) -> str:
    if task.state != PeopleTask.State.OPEN:
        return ""
    if task.due_at < now:
        return LATE
    return TODAY if timezone.localdate(task.due_at) <= timezone.localdate(now) else LATER


def _of(request: HttpRequest, pk: int) -> PeopleTask:
    """The task, if this person may see it; another's does not exist for an employee."""
    found = get_object_or_404(PeopleTask.objects.select_related("channel", "customer", "employee"), pk=pk)
    if not may_see(cast(AbstractUser, request.user), found):
        raise Http404
    return found


@at_work
@require_safe
def task(request: HttpRequest, pk: int) -> HttpResponse:
    """One task: whom, why, what to say, and the buttons that close it."""
    found, now = _of(request, pk), timezone.now()
    campaign = Campaign.objects.filter(pk=found.campaign_id or 0).first()
    post = kol.of_task(found)
    return render(
        request,
        "campaigns/task.html",
        {
            "task": found,
            "campaign": campaign,
            "post": post,
            "tracked_url": posts.tracked_url(post) if post else "",
            "words": contacts.to_say(found),
            "good": people_tasks.choices(found)[0],
            "bad": people_tasks.choices(found)[1],
            "outcome": people_tasks.OUTCOMES.get(found.outcome, found.outcome),
            "late": found.state == PeopleTask.State.OPEN and found.due_at < now,
            "can_undo": people_tasks.can_undo(found, now),
            "may_do": people_tasks.may_do(found)[:500]
            if found.state == PeopleTask.State.OPEN and has_role(request.user, *ASSIGNERS)
            else (),
        },
    )


@needs(*ASSIGNERS)
@require_POST
def assign(request: HttpRequest, pk: int) -> HttpResponse:
    """Gives a task to somebody, or takes it off them."""
    found, wanted = _of(request, pk), request.POST.get("employee", "")
    employee = Employee.objects.filter(pk=wanted).first() if wanted.isdecimal() else None
    try:
        if wanted and employee is None:
            raise ValidationError(_("Choose somebody who works on this channel today."))
        people_tasks.assign(found, employee)
    except people_tasks.AlreadyDone as error:
        messages.warning(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(
            request,
            _("It stands in the tasks of %(name)s now.") % {"name": employee.name}
            if employee
            else _("It is nobody's task now."),
        )
    return redirect("campaigns:task", pk)


@at_work
@require_POST
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """Closes a task with its outcome; the list then offers to take it back."""
    found = _of(request, pk)
    outcome = request.POST.get("outcome", "")
    if post := kol.of_task(found):
        return _report_post(request, post, outcome)
    good, bad = (dict(told) for told in people_tasks.choices(found))
    if outcome not in good | bad:
        messages.error(request, _("Choose what became of it."))
        return redirect("campaigns:task", pk)
    try:
        people_tasks.report(
            found,
            reached=outcome in good,
            outcome=outcome,
            note=request.POST.get("note", "").strip()[:2000],
            now=timezone.now(),
        )
    except people_tasks.AlreadyDone as error:
        messages.warning(request, str(error))
        return redirect("campaigns:tasks")
    return redirect(reverse("campaigns:tasks") + f"?just={pk}")


@at_work
@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes a report back while it has not taken force."""
    found = _of(request, pk)
    try:
        people_tasks.undo(found, timezone.now())
    except people_tasks.TooLate as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, _("Taken back: the task is open again."))
    return redirect("campaigns:task", pk)


def _report_post(request: HttpRequest, post: KolPlacement, outcome: str) -> HttpResponse:
    """A KOL's post is out, or does not come."""
    try:
        if outcome == kol.POSTED:
            kol.posted(post, timezone.localdate(), timezone.now(), request.POST.get("post_url", "").strip())
        elif outcome == kol.NOT_POSTED:
            kol.cancel(post, timezone.now())
        else:
            messages.error(request, _("Choose what became of it."))
            return redirect("campaigns:task", post.task_id)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("Noted."))
    return redirect("campaigns:tasks")


# Lists to work by hand ----------------------------------------------------------------------------


@needs(Role.MARKETER, Role.CHANNEL_ADMIN)
@require_safe
def held_list(request: HttpRequest, pk: int, channel_pk: int) -> StreamingHttpResponse:
    """The list of a manual channel in one campaign as CSV: worded, with the columns of the receipts' import."""
    campaign = get_object_or_404(Campaign, pk=pk)
    channel = get_object_or_404(Channel.objects.select_related("brand"), pk=channel_pk)
    if channel.adapter != "manual":
        raise PermissionDenied(_("This channel sends by itself; there is no list to work by hand."))
    rows = (held.row() for held in manual.held_list(channel, campaign.pk))
    answer = StreamingHttpResponse(_csv(manual.COLUMNS, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="campaign-{campaign.pk}-channel-{channel.pk}.csv"'
    return answer


class _Echo:
    def write(self, text: str) -> str:
        return text


def _csv(columns: Iterable[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """Lines of CSV that a spreadsheet opens rightly and takes for no formula."""
    writer = csv.writer(_Echo())
    yield "\ufeff" + str(writer.writerow(list(columns)))
    for row in rows:
        yield str(writer.writerow(["'" + cell if cell[:1] in "=+-@\t\r" and cell else cell for cell in row]))
