"""Posts to many as employees' tasks: asked when due and while the day has room, followed, taken back.

A task is committed before the call, with what a lost answer is looked for by: no employee is ever asked twice. One
worker at a time works on a channel.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from audiences.days import day_of
from audiences.vocabulary import ResponseKind
from campaigns import broadcast_rules, broadcasts
from campaigns.models import Broadcast, BroadcastGroup, BroadcastTask, ChannelPlan, EmployeeTask
from campaigns.queries import employee_tasks as day_queries
from campaigns.vocabulary import CampaignState
from channels import inbox
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, Inbound, PostDone, PostMaker, PostTold
from channels.models import Channel, Employee
from channels.queries.locks import alone

log = logging.getLogger(__name__)

LOCK = 730_144_196
ASK_AGAIN = timedelta(seconds=30)  # for what waits
LOOK_AGAIN = timedelta(hours=1)  # for likes and comments
LOOKED_AT_FOR = timedelta(days=7)
GONE, LOST = "left", "lost"
Kind, State, Task = Broadcast.Kind, Broadcast.State, BroadcastTask.State


def work(now: datetime) -> int:
    """Every channel with posts; returns how many employees were asked."""
    done = 0
    wanted = _alive(now).values("broadcast__channel_id")
    for channel in (
        Channel.objects.filter(pk__in=wanted)
        .exclude(state=Channel.State.ARCHIVED)
        .select_related("brand")
        .order_by("pk")
    ):
        with alone(LOCK, channel.pk) as mine:
            if mine and broadcasts.limits_of(channel):
                done += _channel(channel, now)
    _end(now)
    return done


def _alive(now: datetime) -> "QuerySet[BroadcastTask]":
    """What there is to do for: to be asked, open, and confirmed with more to be told (likes, groups on their way)."""
    moments = Q(broadcast__kind=Kind.MOMENTS, checked_at__lte=now - LOOK_AGAIN)
    unsent = BroadcastGroup.objects.filter(task=OuterRef("pk"), state="")
    on_its_way = Q(Exists(unsent), checked_at__lte=now - ASK_AGAIN)
    told_later = Q(state=Task.CONFIRMED, confirmed_at__gt=now - LOOKED_AT_FOR) & (moments | on_its_way)
    waits = Q(state=Task.PLANNED, broadcast__state=State.APPROVED, broadcast__due_at__lte=now)
    return BroadcastTask.objects.filter(Q(state=Task.OPEN) | waits | told_later)


def _channel(channel: Channel, now: datetime) -> int:
    try:
        maker = adapter_for(channel).posts()
        _follow(channel, maker, now)
        _take_back(channel, maker, now)
        return _ask(channel, maker, now) if channel.state == Channel.State.ACTIVE else 0
    except AdapterError as error:
        log.warning("posts of channel %s: %s", channel.pk, error)
        return 0


# Asking ---------------------------------------------------------------------------------------------


def _ask(channel: Channel, maker: PostMaker, now: datetime) -> int:
    due = Broadcast.objects.filter(
        channel=channel, state=State.APPROVED, due_at__lte=now, until__gt=now, campaign__state=CampaignState.RUNNING,
        tasks__state=Task.PLANNED,
    ).exclude(_paused_in_plan("campaign", channel))  # fmt: skip
    done = 0
    for post in due.select_related("campaign", "channel").distinct().order_by("due_at", "pk"):
        if later := broadcast_rules.moved(post, now):
            # A rule that came since, or employees whose day was full until now: not at this hour.
            broadcasts.move(post, later)
            continue
        if broadcast_rules.broken(post, now):
            continue  # words that a rule which came since forbids on a day on which they may be confirmed
        planned = list(post.tasks.filter(state=Task.PLANNED).order_by("pk"))
        # A group message is one task an employee; a Moments post one for all of them.
        calls = [[task] for task in planned] if post.kind == Kind.GROUP else [planned]
        for tasks in calls:
            done += _call(post, tasks, maker, now)
    return done


def _paused_in_plan(campaign: str, channel: Channel) -> Q:
    """Whether the campaign has paused this channel while its others go on."""
    plans = ChannelPlan.objects.filter(campaign=OuterRef(campaign), channel=channel, paused_at__isnull=False)
    return Q(Exists(plans))


def _call(post: Broadcast, wanted: Sequence[BroadcastTask], maker: PostMaker, now: datetime) -> int:
    """Raises :class:`AdapterError` when nothing can be asked for now."""
    tasks = _reserve(post, wanted, maker.mark(post.text), now)
    if not tasks:
        return 0
    own = BroadcastGroup.objects.filter(task__in=tasks).order_by("task_id", "pk")
    groups = list(own.values_list("group__external_id", flat=True))
    try:
        asked = maker.ask(post.kind, post.text, [task.employee.external_id for task in tasks], groups)
    except AdapterError as error:
        _give_up(tasks, "" if error.retryable or error.stops_channel else str(error))
        if error.retryable or error.stops_channel:
            raise
        log.warning("post %s is refused: %s", post.pk, error)
        return 0
    if asked.reference:
        _name(tasks, asked.reference, remindable=broadcasts.limits_of(post.channel)[post.kind].reminds)
    if asked.refused:
        own.order_by().filter(group__external_id__in=asked.refused).update(state="refused")
    return len(tasks)


@transaction.atomic
def _reserve(
    post: Broadcast, wanted: Sequence[BroadcastTask], mark: str, now: datetime
) -> list[BroadcastTask]:
    """Those whose day has room, asked as of now; the employees' rows are locked, as for messages."""
    if not Broadcast.objects.select_for_update().filter(pk=post.pk, state=State.APPROVED).exists():
        return []
    staff = Employee.objects.select_for_update(no_key=True).filter(pk__in=[one.employee_id for one in wanted])
    employees = {one.pk: one for one in staff.order_by("pk")}
    still = set(post.tasks.filter(state=Task.PLANNED).values_list("pk", flat=True))
    wanted = [task for task in wanted if task.pk in still]
    gone = [task.pk for task in wanted if employees[task.employee_id].left_at]
    BroadcastTask.objects.filter(pk__in=gone).update(state=Task.FAILED, error=GONE)
    day = day_of(now)
    taken = day_queries.taken(list(employees), day)
    tasks = [
        task
        for task in wanted
        if task.pk not in gone and taken.get(task.employee_id, 0) < employees[task.employee_id].daily_tasks
    ]
    sizes = broadcasts.sizes(post, tasks)
    made = EmployeeTask.objects.bulk_create(
        EmployeeTask(
            channel=post.channel, employee_id=task.employee_id, day=day, campaign_id=post.campaign_id,
            customers=sizes.get(task.pk, 0), made_at=now,
        )
        for task in tasks
    )  # fmt: skip
    for task, employee_task in zip(tasks, made, strict=True):
        task.employee, task.broadcast, task.employee_task = employees[task.employee_id], post, employee_task
        task.state, task.reference, task.asked_at, task.error = Task.OPEN, mark, now, ""
    BroadcastTask.objects.bulk_update(tasks, ["employee_task", "state", "reference", "asked_at", "error"])
    return tasks


@transaction.atomic
def _name(tasks: Sequence[BroadcastTask], reference: str, remindable: bool) -> None:
    BroadcastTask.objects.filter(pk__in=[task.pk for task in tasks]).update(reference=reference)
    if remindable:  # a task without a reference is never reminded of
        EmployeeTask.objects.filter(broadcast_task__in=tasks).update(reference=reference[:80])


@transaction.atomic
def _give_up(tasks: Sequence[BroadcastTask], error: str) -> None:
    """No task was made: the employees' day is free again; without an error they are asked anew."""
    EmployeeTask.objects.filter(broadcast_task__in=tasks).delete()
    BroadcastTask.objects.filter(pk__in=[task.pk for task in tasks]).update(
        state=Task.FAILED if error else Task.PLANNED, reference="", asked_at=None, error=error[:254]
    )


# Following ------------------------------------------------------------------------------------------


def _follow(channel: Channel, maker: PostMaker, now: datetime) -> None:
    open_ones = Q(state=Task.OPEN) & (Q(checked_at=None) | Q(checked_at__lte=now - ASK_AGAIN))
    found = _alive(now).filter(open_ones | Q(state=Task.CONFIRMED), broadcast__channel=channel)
    for tasks in _by_reference(found):
        try:
            _apply(channel, tasks, _told(maker, tasks), now)
        except AdapterError as error:
            if error.retryable or error.stops_channel:
                raise
            log.warning("post %s cannot be followed: %s", tasks[0].broadcast_id, error)
            BroadcastTask.objects.filter(pk__in=[task.pk for task in tasks]).update(checked_at=now)


def _by_reference(found: "QuerySet[BroadcastTask]") -> list[list[BroadcastTask]]:
    """Tasks the provider knows as one."""
    together: dict[tuple[int, str, int], list[BroadcastTask]] = defaultdict(list)
    for task in found.select_related("broadcast", "employee").order_by("broadcast_id", "pk"):
        alone = task.pk if task.broadcast.kind == Kind.GROUP else 0
        together[task.broadcast_id, task.reference, alone].append(task)
    return list(together.values())


def _told(maker: PostMaker, tasks: Sequence[BroadcastTask], reference: str = "") -> PostTold:
    return maker.told(
        tasks[0].broadcast.kind,
        reference or tasks[0].reference,
        [task.employee.external_id for task in tasks],
    )


def _apply(channel: Channel, tasks: Sequence[BroadcastTask], told: PostTold, now: datetime) -> None:
    """Rows say what the provider says; told twice it changes nothing."""
    post = tasks[0].broadcast
    if told.missing or told.error:
        # WeCom lists every group message, so one that is missing was never made; Moments it may list later.
        again = told.missing and post.kind == Kind.GROUP
        _give_up(tasks, told.error or ("" if again else LOST))
        return
    if told.reference != tasks[0].reference:
        _name(tasks, told.reference, remindable=broadcasts.limits_of(channel)[post.kind].reminds)
    by_name = {task.employee.external_id: task for task in tasks}
    refused = [by_name[name] for name in told.refused if name in by_name]
    if refused:
        _give_up(refused, GONE)
    events: list[Inbound] = []
    with transaction.atomic():
        BroadcastTask.objects.filter(pk__in=[task.pk for task in tasks]).update(checked_at=now)
        for done in told.done:
            if done.confirmed and (task := by_name.get(done.employee)):
                _confirm(task, done, now)
                events += [_event(channel, task, *reaction, now) for reaction in done.reactions]
        inbox.store(channel, events, now)


def _confirm(task: BroadcastTask, done: PostDone, now: datetime) -> None:
    shown = done.shown
    if task.broadcast.kind == Kind.GROUP:
        groups = list(task.groups.select_related("group"))
        for one in groups:
            one.state = done.groups.get(one.group.external_id, one.state)
        task.groups.bulk_update(groups, ["state"])
        shown = sum(one.group.customers for one in groups if one.state == "sent")
    kinds = [str(kind) for kind, _address, _at in done.reactions]
    at = task.confirmed_at or min(done.at or now, now)
    BroadcastTask.objects.filter(pk=task.pk).update(
        state=Task.CONFIRMED, confirmed_at=at, shown=shown, likes=kinds.count("like"), comments=kinds.count("reply")
    )  # fmt: skip
    task.state = Task.CONFIRMED
    EmployeeTask.objects.filter(broadcast_task=task, state=EmployeeTask.State.OPEN).update(
        state=EmployeeTask.State.CONFIRMED, ended_at=at
    )


def _event(
    channel: Channel, task: BroadcastTask, kind: ResponseKind, address: str, at: datetime, now: datetime
) -> Inbound:
    """A like or a comment is a person's own act, and the only thing known of a person."""
    return Inbound(
        dedupe_key=f"post:{task.pk}:{kind}:{address}:{int(at.timestamp())}", occurred_at=min(at, now),
        response=kind, identity_kind=adapter_class(channel.adapter).address_kinds[0],
        identity_issuer=str(channel.settings.get("corp_id") or ""), identity_value=address,
        campaign_id=task.broadcast.campaign_id, detail={"broadcast": task.broadcast_id},
    )  # fmt: skip


# Taking back ----------------------------------------------------------------------------------------


def _take_back(channel: Channel, maker: PostMaker, now: datetime) -> None:
    """Open tasks that must not be confirmed any more: the post cancelled, its campaign or channel paused, a rule that came
    since, or too late."""
    found = BroadcastTask.objects.filter(state=Task.OPEN, broadcast__channel=channel)
    if channel.state != Channel.State.PAUSED:
        unwanted = ~Q(broadcast__state=State.APPROVED) | ~Q(broadcast__campaign__state=CampaignState.RUNNING)
        paused = _paused_in_plan("broadcast__campaign", channel)
        asked = Broadcast.objects.filter(pk__in=found.order_by().values("broadcast"))
        asked = asked.select_related("campaign", "channel__brand")
        ruled = [post.pk for post in asked if broadcast_rules.broken_today(post, now)]
        found = found.filter(unwanted | paused | Q(broadcast__in=ruled) | Q(broadcast__until__lte=now))
    for tasks in _by_reference(found):
        left = BroadcastTask.objects.filter(pk__in=[task.pk for task in tasks], state=Task.OPEN)
        try:
            told = _told(maker, tasks)
            if not (told.making or told.missing or told.error):
                maker.cancel(tasks[0].broadcast.kind, told.reference)
                told = _told(maker, tasks, told.reference)
        except AdapterError as error:
            if error.retryable or error.stops_channel:
                raise
            log.warning("post %s cannot be taken back: %s", tasks[0].broadcast_id, error)
            EmployeeTask.objects.filter(broadcast_task__in=left).update(
                state=EmployeeTask.State.ENDED, ended_at=now
            )
            left.update(state=Task.FAILED, error=str(error)[:254])
            continue
        _apply(channel, tasks, told, now)
        if not told.making:
            _release(left, now)


@transaction.atomic
def _release(left: "QuerySet[BroadcastTask]", now: datetime) -> None:
    """What never will be confirmed. After a pause employees are asked anew, as for messages."""
    for task in left.select_related("broadcast__campaign"):
        post = task.broadcast
        EmployeeTask.objects.filter(broadcast_task=task, state=EmployeeTask.State.OPEN).update(
            state=EmployeeTask.State.ENDED, ended_at=now
        )
        task.state = Task.UNCONFIRMED
        if post.state == State.CANCELLED:
            task.state = Task.CANCELLED
        elif post.until > now and post.campaign.state not in broadcasts.OVER:
            task.state, task.reference, task.asked_at, task.employee_task = Task.PLANNED, "", None, None
        task.save(update_fields=["state", "reference", "asked_at", "employee_task"])


def _end(now: datetime) -> None:
    """Posts whose time is over, or all of whose tasks are."""
    late = Q(broadcast__until__lte=now) | Q(broadcast__campaign__state__in=broadcasts.OVER)
    BroadcastTask.objects.filter(late, state=Task.PLANNED, broadcast__state=State.APPROVED).update(
        state=Task.UNCONFIRMED
    )
    running = BroadcastTask.objects.filter(state__in=(Task.PLANNED, Task.OPEN)).values("broadcast_id")
    Broadcast.objects.filter(state=State.APPROVED).exclude(pk__in=running).update(state=State.ENDED)
