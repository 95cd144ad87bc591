"""Messages to chat groups and Moments posts in campaigns: planned, approved by somebody else, made by employees.

Many see one at once and nobody is known to have: a post is *unobserved*. It is no touch, meets no target, takes no
place in anybody's pressure and is never over or a gap. It counts by its stated weight, apart from what was reached.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.db.models import Count, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from audiences.contact_state import forms
from audiences.vocabulary import permission_key
from campaigns import broadcast_rules
from campaigns.models import Broadcast, BroadcastGroup, BroadcastTask, Campaign, ChannelPlan
from campaigns.queries import broadcasts as queries
from campaigns.vocabulary import CampaignState
from channels.accounts import account_of
from channels.adapters import adapter_class
from channels.adapters.base import PostLimits
from channels.links import link_url, named_url
from channels.models import Channel, CustomerGroup, Employee, EmployeeContact, Link

OVER = (CampaignState.FINISHED, CampaignState.REVIEWED)
LATELY = timedelta(days=7)
Kind, State, TaskState = Broadcast.Kind, Broadcast.State, BroadcastTask.State


def limits_of(channel: Channel) -> Mapping[str, PostLimits]:
    """Kinds of posts a channel can make, with what each may be."""
    try:
        found = adapter_class(channel.adapter)
    except LookupError:
        return {}
    return found.post_limits if "posts" in found.verbs() else {}


def weight_of(channel: Channel, kind: str) -> Decimal:
    """What one customer a post is shown to counts for; a message to one customer is 1. Raises :class:`ValidationError`."""
    told = account_of(channel).settings.get(f"{kind}_weight")
    try:
        weight = Decimal(str(told)).quantize(Decimal("0.001"))
    except InvalidOperation:
        weight = Decimal(-1)
    if not 0 <= weight <= 1:
        raise ValidationError(
            _("%(channel)s: its weight of posts must be from 0 to 1.") % {"channel": channel.name}
        )
    return weight


def plans() -> list[ChannelPlan]:
    """Campaigns that are not over, each with a channel of its plan that can make posts; by name."""
    found = ChannelPlan.objects.exclude(campaign__state__in=OVER).exclude(
        campaign__kind=Campaign.Kind.IMPORTED
    )
    found = found.select_related("campaign", "channel").order_by(
        "campaign__name", "campaign_id", "channel__name"
    )
    return [plan for plan in found if limits_of(plan.channel)]


def possible(campaign: Campaign) -> bool:
    """Whether a channel of its plan can make posts."""
    planned = ChannelPlan.objects.filter(campaign=campaign).select_related("channel")
    return any(limits_of(plan.channel) for plan in planned)


def employees_of(channel: Channel) -> list[Employee]:
    return list(Employee.objects.filter(channel=channel, left_at=None).order_by("name", "pk"))


def groups_of(channel: Channel) -> list[CustomerGroup]:
    """Groups whose owner can be asked."""
    found = CustomerGroup.objects.filter(channel=channel, gone_at=None, owner__left_at=None).exclude(
        owner=None
    )
    return list(found.select_related("owner").order_by("owner__name", "name", "pk"))


@dataclass(frozen=True, slots=True)
class Audience:
    """Who can see a post. ``held_out`` and ``unwilling`` are None where nobody is known by person (groups)."""

    customers: int
    held_out: int | None = None
    unwilling: int | None = None


def audience(
    campaign: Campaign, channel: Channel, kind: str, employees: Sequence[int], groups: Sequence[CustomerGroup]
) -> Audience:
    """Who would see it: all of them, also those the campaign leaves alone. Nobody can be taken out of a post."""
    if kind == Kind.GROUP:
        return Audience(sum(group.customers for group in groups))
    key = permission_key(channel.brand_id, channel.medium)
    return Audience(
        *queries.seen_by(employees, campaign.pk, key, list(forms(channel.brand_id, channel.medium)))
    )


def audience_of(post: Broadcast) -> Audience:
    groups = [
        one.group for one in BroadcastGroup.objects.filter(task__broadcast=post).select_related("group")
    ]
    employees = list(post.tasks.values_list("employee_id", flat=True))
    return audience(post.campaign, post.channel, post.kind, employees, groups)


def lately(employees: Iterable[Employee], now: datetime) -> dict[int, Decimal]:
    """Employee → posts of the last seven days, in messages to one customer: how much their customers saw already."""
    return queries.lately([one.pk for one in employees], now - LATELY)


@transaction.atomic
def plan(
    campaign: Campaign,
    channel: Channel,
    kind: str,
    text: str,
    due_at: datetime,
    *,
    employees: Sequence[Employee] = (),
    groups: Sequence[CustomerGroup] = (),
    url: str = "",
    user: Any = None,
) -> Broadcast:
    """A post that waits for approval: for the owners of ``groups``, or for ``employees`` (Moments).

    ``url`` gets a tracked link of the post's own, at the end of the text. Raises :class:`ValidationError`.
    """
    limits = _permitted(campaign, channel, kind)
    post = Broadcast(
        campaign=campaign, channel=channel, kind=kind, text=text.strip(), weight=weight_of(channel, kind), due_at=due_at,
        until=_until(campaign, channel, due_at), made_by=user,
    )  # fmt: skip
    work = _work(channel, kind, limits, employees, groups)
    post.save()
    if url:
        address = named_url(url, channel.medium, post.reference)
        post.link = Link.objects.create(
            campaign_id=campaign.pk, channel=channel, url=address, label=str(post)[:120]
        )
        post.text = f"{post.text}\n{link_url(post.link.pk, campaign.pk, channel.pk, None, None)}".strip()
        post.save(update_fields=["link", "text"])
    _check_text(post.text, limits)
    _check_rules(post)
    for employee, own in work:
        task = BroadcastTask.objects.create(broadcast=post, employee=employee)
        BroadcastGroup.objects.bulk_create(BroadcastGroup(task=task, group=group) for group in own)
    return post


def _permitted(campaign: Campaign, channel: Channel, kind: str) -> PostLimits:
    limits = limits_of(channel)
    if kind not in limits:
        raise ValidationError(_("%(channel)s cannot make such posts.") % {"channel": channel.name})
    if not ChannelPlan.objects.filter(campaign=campaign, channel=channel).exists():
        raise ValidationError(
            _("%(channel)s is not in the plan of %(campaign)s: add it to its matrix first.")
            % {"channel": channel.name, "campaign": campaign.name}
        )
    if campaign.state in OVER:
        raise ValidationError(_("This campaign is over."))
    return limits[kind]


def _until(campaign: Campaign, channel: Channel, due_at: datetime) -> datetime:
    """Employees have as long as for messages, and never beyond the flight."""
    if campaign.ends_at and due_at >= campaign.ends_at:
        raise ValidationError({"due_at": _("The campaign is over by then.")})
    if campaign.starts_at and due_at < campaign.starts_at:
        raise ValidationError({"due_at": _("The campaign has not begun by then.")})
    until = due_at + timedelta(hours=float(account_of(channel).settings.get("confirm_hours") or 24))
    return min(until, campaign.ends_at) if campaign.ends_at else until


def _work(
    channel: Channel,
    kind: str,
    limits: PostLimits,
    employees: Sequence[Employee],
    groups: Sequence[CustomerGroup],
) -> list[tuple[Employee, list[CustomerGroup]]]:
    """What each employee is asked for."""
    if kind != Kind.GROUP:
        if not employees:
            raise ValidationError({"employees": _("Choose who shall post it.")})
        if any(one.channel_id != channel.pk or one.left_at for one in employees):
            raise ValidationError(
                {"employees": _("Choose employees of %(channel)s.") % {"channel": channel.name}}
            )
        return [(one, []) for one in employees]
    own: dict[Employee, list[CustomerGroup]] = {}
    for group in groups:
        if group.channel_id != channel.pk or group.gone_at or group.owner is None or group.owner.left_at:
            raise ValidationError({"groups": _("%(group)s has nobody to send it.") % {"group": group}})
        own.setdefault(group.owner, []).append(group)
    if not own:
        raise ValidationError({"groups": _("Choose the groups it goes to.")})
    if any(len(some) > limits.groups for some in own.values()):
        raise ValidationError(
            {"groups": _("At most %(n)s groups of one owner at once.") % {"n": limits.groups}}
        )
    return list(own.items())


def _check_text(text: str, limits: PostLimits) -> None:
    if not text:
        raise ValidationError({"text": _("Write what it says.")})
    if len(text) > limits.characters or len(text.encode()) > limits.octets:
        raise ValidationError(
            {
                "text": ngettext(
                    "Too long with its link: %(n)d character, of %(most)d permitted (%(octets)d bytes).",
                    "Too long with its link: %(n)d characters, of %(most)d permitted (%(octets)d bytes).",
                    len(text),
                )
                % {"n": len(text), "most": limits.characters, "octets": limits.octets}
            }
        )


def _check_rules(post: Broadcast) -> None:
    """What the platform forbids, by field. Raises :class:`ValidationError`."""
    found = broadcast_rules.refused(post.campaign, post.channel, post.text, post.due_at, post.until)
    if found:
        raise ValidationError({where or NON_FIELD_ERRORS: problems for where, problems in found.items()})


def move(post: Broadcast, due_at: datetime) -> bool:
    """Ask employees later, with as long to confirm as before; False where the campaign is over by then, or where some
    were asked already: then the others are asked within the hours of its time."""
    if post.tasks.exclude(state=TaskState.PLANNED).exists():
        return False
    try:
        until = _until(post.campaign, post.channel, due_at)
    except ValidationError:
        return False
    if until <= due_at:
        return False
    post.due_at, post.until = due_at, until
    post.save(update_fields=["due_at", "until"])
    return True


def _locked(post: Broadcast) -> Broadcast:
    found = Broadcast.objects.select_for_update(of=("self",)).select_related("campaign", "channel")
    return found.get(pk=post.pk)


def may_approve(post: Broadcast, user: Any) -> bool:
    return post.state == State.PLANNED and bool(user.pk) and user.pk != post.made_by_id


@transaction.atomic
def approve(post: Broadcast, user: Any, now: datetime) -> Broadcast:
    """By somebody else than the maker: employees are asked from its time on. Raises :class:`ValidationError`."""
    post = _locked(post)
    if post.state != State.PLANNED:
        raise ValidationError(_("This post is approved or cancelled already."))
    if user.pk == post.made_by_id:
        raise ValidationError(_("Who planned a post does not approve it."))
    if post.until <= now:
        raise ValidationError(_("Its time is over: plan it anew."))
    _check_rules(post)  # they may have changed since it was planned
    post.state, post.approved_by, post.approved_at = State.APPROVED, user, now
    post.save(update_fields=["state", "approved_by", "approved_at"])
    return post


@transaction.atomic
def cancel(post: Broadcast) -> Broadcast:
    """Nobody is asked any more; open tasks are taken back within seconds. What was confirmed before stands."""
    post = _locked(post)
    if post.state not in (State.PLANNED, State.APPROVED):
        raise ValidationError(_("This post is over."))
    post.state = State.CANCELLED
    post.save(update_fields=["state"])
    post.tasks.filter(state=TaskState.PLANNED).update(state=TaskState.CANCELLED)
    return post


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a post came. ``weighted``: what it was shown, in messages to one customer."""

    post: Broadcast
    tasks: int
    confirmed: int
    waiting: int
    shown: int
    likes: int
    comments: int
    visits: int | None  # None: it has no link

    @property
    def weighted(self) -> Decimal:
        return self.shown * self.post.weight


def standings(posts: Sequence[Broadcast]) -> list[Standing]:
    """Each with what is known of it. ``tasks`` must be prefetched."""
    links = [post.link_id for post in posts if post.link_id]
    visits = queries.visits(sorted({post.channel_id for post in posts}), links)
    found = []
    for post in posts:
        tasks = list(post.tasks.all())
        found.append(
            Standing(
                post,
                len(tasks),
                sum(task.state == TaskState.CONFIRMED for task in tasks),
                sum(task.state in (TaskState.PLANNED, TaskState.OPEN) for task in tasks),
                sum(task.shown or 0 for task in tasks),
                sum(task.likes for task in tasks),
                sum(task.comments for task in tasks),
                visits.get(post.link_id, 0) if post.link_id else None,
            )
        )
    return found


def sizes(post: Broadcast, tasks: Sequence[BroadcastTask]) -> dict[int, int]:
    """Task → how many customers it is for; whose has none is missing."""
    if post.kind == Kind.GROUP:
        own = BroadcastGroup.objects.filter(task__in=tasks).values_list("task_id")
        return dict(own.annotate(n=Sum("group__customers")).values_list("task_id", "n"))
    contacts = EmployeeContact.objects.filter(
        employee__in=[task.employee_id for task in tasks], removed_at=None
    )
    by_employee = dict(contacts.values_list("employee_id").annotate(n=Count("pk")))
    return {task.pk: by_employee.get(task.employee_id, 0) for task in tasks}
