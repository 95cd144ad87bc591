"""Touches made by people, for a phone: whom to call, until when, and what became of it."""

import csv
from collections.abc import Iterable, Iterator

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from audiences.access import ANYBODY, Role, needs
from campaigns import contacts, kol, manual, people_tasks
from campaigns.models import Campaign, PeopleTask
from channels import kol as posts
from channels.models import Channel, Employee, KolPlacement

PAGE = 50

REACHED = (
    ("interested", gettext_lazy("Interested")),
    ("reached", gettext_lazy("Told, no answer yet")),
    ("not_interested", gettext_lazy("Not interested")),
    ("call_back", gettext_lazy("Call back later")),
)
MISSED = (
    ("no_answer", gettext_lazy("No answer")),
    ("wrong_number", gettext_lazy("Wrong number")),
    ("refused", gettext_lazy("Does not want to be called")),
)


@needs(*ANYBODY)
@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    """Open tasks, the most urgent first; those of one employee, or all."""
    wanted = request.GET.get("of", "")
    state = request.GET.get("state", PeopleTask.State.OPEN)
    found = PeopleTask.objects.select_related("channel", "customer", "employee")
    own = Employee.objects.filter(user_id=request.user.pk or 0, left_at=None).first()
    if wanted == "all" or (own is None and not wanted):
        chosen = "all"
    elif wanted.isdecimal():
        chosen = wanted
        found = found.filter(employee_id=int(wanted))
    else:
        chosen = "mine"
        found = found.filter(employee=own)
    if state in PeopleTask.State.values:
        found = found.filter(state=state)
    page = Paginator(found.order_by("due_at", "pk"), PAGE).get_page(request.GET.get("page"))
    campaigns = Campaign.objects.in_bulk({task.campaign_id for task in page if task.campaign_id})
    return render(
        request,
        "campaigns/tasks.html",
        {
            "page": page,
            "rows": [{"task": task, "campaign": campaigns.get(task.campaign_id or 0)} for task in page],
            "chosen": chosen,
            "own": own,
            "state": state,
            "states": PeopleTask.State.choices,
            "employees": Employee.objects.filter(left_at=None).order_by("name")[:200],
            "now": timezone.now(),
        },
    )


@needs(*ANYBODY)
@require_safe
def task(request: HttpRequest, pk: int) -> HttpResponse:
    """One task: whom, why, what to say, and the buttons that close it."""
    found = get_object_or_404(PeopleTask.objects.select_related("channel", "customer", "employee"), pk=pk)
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
            "reached": REACHED,
            "missed": MISSED,
            "late": found.state == PeopleTask.State.OPEN and found.due_at < timezone.now(),
        },
    )


@needs(*ANYBODY)
@require_POST
def report(request: HttpRequest, pk: int) -> HttpResponse:
    """Closes a task with its outcome."""
    found = get_object_or_404(PeopleTask, pk=pk)
    outcome = request.POST.get("outcome", "")
    if post := kol.of_task(found):
        return _report_post(request, post, outcome)
    outcomes = {**dict(REACHED), **dict(MISSED)}
    if outcome not in outcomes:
        messages.error(request, _("Choose what became of it."))
        return redirect("campaigns:task", pk)
    try:
        people_tasks.report(
            found,
            reached=outcome in dict(REACHED),
            outcome=outcome,
            note=request.POST.get("note", "").strip()[:2000],
            now=timezone.now(),
        )
    except people_tasks.AlreadyDone as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, _("Noted: %(outcome)s") % {"outcome": outcomes[outcome]})
    return redirect("campaigns:tasks")


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
