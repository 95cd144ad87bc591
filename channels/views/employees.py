"""Employees of a channel: who makes its touches by hand, and by which log-in they see their tasks."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.access import Role, needs
from channels.forms import EmployeeForm
from channels.models import Channel, Employee


@needs(Role.CHANNEL_ADMIN)
def employees(request: HttpRequest, pk: int) -> HttpResponse:
    """Everybody of the channel, those who left last; and a form for one more."""
    channel = get_object_or_404(Channel, pk=pk)
    form = EmployeeForm(channel, request.POST or None)
    if request.method == "POST" and form.is_valid():
        messages.success(request, _("%(name)s is added.") % {"name": form.save()})
        return redirect("channels:employees", pk)
    shown = {
        "channel": channel,
        "form": form,
        "employees": channel.employees.select_related("user").order_by("-left_at", "name"),
    }
    return render(request, "channels/employees.html", shown, status=422 if form.errors else 200)


@needs(Role.CHANNEL_ADMIN)
def employee(request: HttpRequest, pk: int, employee: int) -> HttpResponse:
    """Change one, or note that they left or came back."""
    channel = get_object_or_404(Channel, pk=pk)
    found = get_object_or_404(Employee, pk=employee, channel=channel)
    if request.method == "POST" and request.POST.get("action") in ("left", "back"):
        found.left_at = timezone.now() if request.POST["action"] == "left" else None
        found.save(update_fields=["left_at"])
        return redirect("channels:employees", pk)
    form = EmployeeForm(channel, request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        messages.success(request, _("%(name)s is saved.") % {"name": form.save()})
        return redirect("channels:employees", pk)
    shown = {"channel": channel, "form": form, "employee": found}
    return render(request, "channels/employee.html", shown, status=422 if form.errors else 200)
