"""The employees of a channel: their customers, what they are asked to confirm, and what came of it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audiences import jobs
from audiences.access import ANYBODY, Role, needs
from audiences.models import Job
from campaigns import employee_tasks
from channels import employees as roster
from channels.adapters import adapter_class
from channels.models import Channel, Employee


@needs(*ANYBODY)
@require_safe
def employees(request: HttpRequest, pk: int) -> HttpResponse:
    """Who may send on this channel, today and in the last seven days."""
    channel = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
    now = timezone.now()
    shares = employee_tasks.shares(channel, now)
    rows = [(row, shares.get(row.pk, employee_tasks.Share())) for row in roster.of_channel(channel, now)]
    here = [(row, share) for row, share in rows if row.left_at is None]
    week = sum(share.week for _row, share in rows)
    shown = {
        "channel": channel,
        "rows": here,
        "gone": [(row, share) for row, share in rows if row.left_at is not None],
        "contacts": sum(row.contacts for row, _share in here),
        "room": sum(row.daily_tasks for row, _share in here),
        "today": sum(share.today for _row, share in rows),
        "confirmed_share": sum(share.confirmed_week for _row, share in rows) / week if week else None,
        "can_sync": "roster" in adapter_class(channel.adapter).verbs(),
        "job": Job.objects.filter(kind=roster.SYNC_JOB, subject=f"channel:{pk}").order_by("-pk").first(),
    }
    return render(request, "campaigns/employees.html", shown)


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
