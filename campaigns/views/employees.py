"""The employees of a channel: who they are, by which log-in they see their tasks, their customers, what they are asked
to confirm, and what came of it."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences import jobs
from audiences.access import ANYBODY, Role, has_role, needs
from audiences.models import Job
from audiences.vocabulary import Medium
from campaigns import employee_tasks
from channels import employees as roster
from channels.adapters import adapter_class
from channels.forms import EmployeeForm
from channels.models import Channel, Employee


@needs(*ANYBODY)
@require_safe
def employees(request: HttpRequest, pk: int) -> HttpResponse:
    """Who works on this channel, today and in the last seven days."""
    channel = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
    return render(request, "campaigns/employees.html", _page(request, channel))


def _page(request: HttpRequest, channel: Channel, form: EmployeeForm | None = None) -> dict[str, Any]:
    now = timezone.now()
    shares = employee_tasks.shares(channel, now)
    rows = [(row, shares.get(row.pk, employee_tasks.Share())) for row in roster.of_channel(channel, now)]
    here = [(row, share) for row, share in rows if row.left_at is None]
    week = sum(share.week for _row, share in rows)
    can_sync = "roster" in adapter_class(channel.adapter).verbs()
    admin = has_role(request.user, Role.CHANNEL_ADMIN)
    log_ins = channel.employees.exclude(user=None).values_list("pk", "user__username") if admin else ()
    return {
        "channel": channel,
        "confirms": can_sync or channel.medium == Medium.WECOM,
        "log_ins": dict(log_ins),
        "form": (form or EmployeeForm(channel)) if admin else None,
        "rows": here,
        "gone": [(row, share) for row, share in rows if row.left_at is not None],
        "contacts": sum(row.contacts for row, _share in here),
        "room": sum(row.daily_tasks for row, _share in here),
        "today": sum(share.today for _row, share in rows),
        "confirmed_share": sum(share.confirmed_week for _row, share in rows) / week if week else None,
        "can_sync": can_sync,
        "job": Job.objects.filter(kind=roster.SYNC_JOB, subject=f"channel:{channel.pk}")
        .order_by("-pk")
        .first(),
    }


@needs(Role.CHANNEL_ADMIN)
@require_POST
def add(request: HttpRequest, pk: int) -> HttpResponse:
    """One more who works on the channel by hand."""
    channel = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
    form = EmployeeForm(channel, request.POST)
    if not form.is_valid():
        return render(request, "campaigns/employees.html", _page(request, channel, form), status=422)
    messages.success(request, _("%(name)s is added.") % {"name": form.save()})
    return redirect("campaigns:employees", pk)


@needs(Role.CHANNEL_ADMIN)
def employee(request: HttpRequest, pk: int, employee: int) -> HttpResponse:
    """Change one, or note that they left or came back."""
    channel = get_object_or_404(Channel, pk=pk)
    found = get_object_or_404(Employee, pk=employee, channel=channel)
    if request.method == "POST" and request.POST.get("action") in ("left", "back"):
        found.left_at = timezone.now() if request.POST["action"] == "left" else None
        found.save(update_fields=["left_at"])
        return redirect("campaigns:employees", pk)
    form = EmployeeForm(channel, request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        messages.success(request, _("%(name)s is saved.") % {"name": form.save()})
        return redirect("campaigns:employees", pk)
    shown = {"channel": channel, "form": form, "employee": found}
    return render(request, "campaigns/employee.html", shown, status=422 if form.errors else 200)


@needs(*ANYBODY)
@require_safe
def moved(request: HttpRequest, pk: int, employee: int | None = None) -> HttpResponse:
    """The addresses of before lead here."""
    if employee is None:
        return redirect("campaigns:employees", pk)
    return redirect("campaigns:employee", pk, employee)


@needs(Role.CHANNEL_ADMIN)
@require_POST
def sync(request: HttpRequest, pk: int) -> HttpResponse:
    """Bring employees up to date now, in the background."""
    channel = get_object_or_404(Channel, pk=pk)
    if not Job.objects.filter(kind=roster.SYNC_JOB, subject=f"channel:{pk}", finished_at=None).exists():
        jobs.start(roster.SYNC_JOB, f"channel:{pk}", {"channel": channel.pk}, request.user)
    return redirect("campaigns:employees", pk)


@needs(Role.CHANNEL_ADMIN)
@require_POST
def daily_tasks(request: HttpRequest, pk: int, employee: int) -> HttpResponse:
    """How many tasks a day an employee may get."""
    found = get_object_or_404(Employee, pk=employee, channel_id=pk)
    told = request.POST.get("daily_tasks", "").strip()
    try:
        roster.set_daily_tasks(found, int(told) if told.isdecimal() else -1)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, _("%(name)s gets %(n)s tasks a day at most.") % {"name": found.name, "n": told}
        )
    return redirect("campaigns:employees", pk)
