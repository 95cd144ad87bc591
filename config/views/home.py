"""The first page: what needs me, what runs, what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from audiences.access import Role, has_role
from audiences.models import Customer, Segment
from audiences.registers import home_cards
from campaigns.at_work import at_work, only_employee
from campaigns.models import Campaign
from channels.models import Channel

COLUMNS = (
    ("needs_me", _("What needs me"), "bell", _("Nothing waits for you.")),
    ("runs", _("What runs"), "player-play", _("Nothing runs at the moment.")),
    ("wrong", _("What is wrong"), "alert-triangle", _("Nothing is wrong.")),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the first ten minutes; without ``url`` it is told, not linked."""

    title: Any
    text: Any
    url_names: tuple[str, ...]  # the first that resolves is linked
    roles: tuple[str, ...]
    done: Callable[[], bool]

    @property
    def url(self) -> str:
        for name in self.url_names:
            try:
                return reverse(name)
            except NoReverseMatch:
                continue
        return ""


def _own_campaigns() -> QuerySet[Campaign]:
    """Campaigns made here, not imported."""
    return Campaign.objects.exclude(kind=Campaign.Kind.IMPORTED)


STEPS = (
    Step(
        _("Import customers"),
        _(
            "A CSV or Excel file with names, phones, emails and consent. Bad lines come back as a file to mend."
        ),
        ("audiences:new_import", "audiences:import_new", "audiences:imports"),
        (Role.MARKETER,),
        Customer.objects.exists,
    ),
    Step(
        _("Build a segment"),
        _("Choose whom to reach. The builder counts as you type and shows the reach of each channel."),
        ("audiences:new_segment", "audiences:segment_new", "audiences:segments"),
        (Role.MARKETER,),
        Segment.objects.exists,
    ),
    Step(
        _("Connect a channel"),
        _("Email, SMS, WeCom, an ad account, or a manual channel that only exports lists."),
        ("channels:connect", "channels:channels"),
        (Role.CHANNEL_ADMIN,),
        Channel.objects.exists,
    ),
    Step(
        _("Create a campaign"),
        _("Say how often each kind of person is to be reached on each channel, and with what budget."),
        ("campaigns:new_campaign", "campaigns:campaign_new", "campaigns:campaigns"),
        (Role.MARKETER,),
        _own_campaigns().exists,
    ),
    Step(
        _("Have it approved, and watch it run"),
        _("Somebody else approves. Then coverage shows who was reached too often or too seldom, and why."),
        ("reports:coverage_index",),
        (Role.APPROVER, Role.FINANCE, Role.MARKETER),
        _own_campaigns().filter(released_at__isnull=False).exists,
    ),
)


@at_work
def home(request: HttpRequest) -> HttpResponse:
    """The first page; who has a log-in only for their tasks is led to these."""
    if only_employee(cast(AbstractUser, request.user)):
        return redirect("campaigns:tasks")
    return _cards(request)


def _cards(request: HttpRequest) -> HttpResponse:
    """Cards of all apps in three columns; above them the first ten minutes, until they are done."""
    cards: dict[str, list[str]] = {name: [] for name, *_rest in COLUMNS}
    for card in home_cards:
        context = card.context(request)
        if context is not None:
            cards[card.column].append(render_to_string(card.template, dict(context), request))
    columns = [
        {"name": name, "title": title, "icon": icon, "nothing": nothing, "cards": cards[name]}
        for name, title, icon, nothing in COLUMNS
    ]
    steps = [
        {"step": step, "mine": has_role(request.user, *step.roles), "done": step.done()} for step in STEPS
    ]
    return render(
        request,
        "config/home.html",
        {"columns": columns, "steps": steps, "newcomer": not all(step["done"] for step in steps)},
    )
