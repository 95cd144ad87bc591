"""Write what was approved: members (the held out too), their targets, their touches, and the budgets.

The plan is computed again on the audience as it is now: consents withdrawn since the forecast count. What is
the same comes out the same, since it hangs on the inputs and the campaign's seed alone. A release happens
once: a second one, by a second click or a worker that was taken for dead, finds the first one's rows and
returns their number. One that is killed leaves nothing that anybody sees, and is begun again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from campaigns import cadence, versions
from campaigns.definition import Document
from campaigns.models import Budget, Campaign, Opening, Plan
from campaigns.planner import plan as plans
from campaigns.planner import spec, work
from campaigns.planner.errors import PlanError
from campaigns.planner.people import audience_sql
from campaigns.planner.spec import STAGES, Spec, Window
from campaigns.planner.work import Outcome, Report
from campaigns.queries import binary
from campaigns.queries import lifecycle as lifecycle_queries
from campaigns.queries import release as queries
from campaigns.queries import triggers as triggered
from campaigns.release import partitions, rows
from campaigns.vocabulary import CampaignState

OVER = (CampaignState.FINISHED, CampaignState.REVIEWED)
ANALYSE_FROM = 1_000  # touches; fewer change no statement's plan


@dataclass(frozen=True, slots=True)
class Released:
    """What stands in the tables now."""

    members: int
    held_out: int
    targets: int
    touches: int


def release(campaign: Campaign, plan: Plan, *, now: datetime, report: Report | None = None) -> Released:
    """Release a campaign. Raises :class:`PlanError` when something in it was never approved."""
    with queries.hold(campaign.pk):
        if _is_released(campaign):
            return Released(*queries.written(campaign.pk))
        document = versions.holding(campaign)
        if cadence.is_triggered(document):
            with transaction.atomic():
                _keep(campaign, plan, now)
                _remember(campaign, document, now)
            return Released(0, 0, 0, 0)  # members come one by one, as it opens for them
        partitions.drop_leftovers(campaign.pk)
        filled = _filled(campaign)
        if filled is None:
            outcome = work.compute(campaign, now=now, document=versions.holding(campaign), report=report)
            _check_approved(outcome.spec)
            if len(outcome.schedule) <= settings.OWN_PARTITION:
                _write_shared(campaign, plan, outcome, now)
                return Released(*queries.written(campaign.pk))
            filled = _computed(plan, outcome, now)
            try:
                partitions.fill(outcome, now, report, str(filled.pk))
            except BaseException:
                partitions.drop(campaign.pk)
                raise
            del outcome
        partitions.attach(campaign.pk, report, lambda: _keep(campaign, filled, now))
        return Released(*queries.written(campaign.pk))


def _remember(campaign: Campaign, document: Document, now: datetime) -> None:
    """Who is in the stage or in the audience already does not come to it."""
    present = present_of(campaign, document)
    if present:
        triggered.notice_present(campaign.pk, present, now, now, Opening.Reason.BEFORE)


def present_of(campaign: Campaign, document: Document) -> str:
    """The query of those who are where a triggered campaign waits for people to come; '' for other triggers."""
    by = document["cadence"].get("by")
    if by == "stage":
        return triggered.of_stage(document["cadence"].get("stage") or "")
    return audience_sql(spec.read(campaign, campaign.created_at, document).segment) if by == "segment" else ""


def _write_shared(campaign: Campaign, plan: Plan, outcome: Outcome, now: datetime) -> None:
    """A small campaign shares partitions with others: one transaction writes all of it."""
    with transaction.atomic():
        _keep(campaign, _computed(plan, outcome, now), now)
        _copy(outcome, now)
    if len(outcome.schedule) >= ANALYSE_FROM:
        queries.analyse(f"{table}_shared" for table in queries.TABLES[:3])


def _copy(outcome: Outcome, now: datetime) -> None:
    binary.load("campaigns_member", rows.MEMBER, rows.members(outcome, now))
    binary.load("campaigns_member_target", rows.MEMBER_TARGET, rows.member_targets(outcome))
    binary.load("campaigns_touch", rows.TOUCH, rows.touches(outcome, now))


def _filled(campaign: Campaign) -> Plan | None:
    """The plan whose rows stand aside complete, left by a release that was killed while attaching them."""
    mark = queries.marked(partitions.TOUCH, campaign.pk)
    return campaign.plans.filter(pk=int(mark)).first() if mark.isdigit() else None


def _is_released(campaign: Campaign) -> bool:
    return campaign.plans.filter(state=Plan.State.RELEASED).exists()


def _check_approved(read: Spec) -> None:
    cells = [
        (read.channels[cell.channel].id, cell.round, stage, touches)
        for cell in read.cells
        for stage, touches in zip(STAGES, cell.touches, strict=True)
        if touches
    ]
    missing = queries.count_unapproved(read.campaign.pk, cells)
    if missing:
        raise PlanError(
            _(
                "%(n)d touches of the matrix were never approved. Submit the campaign and have it approved first."
            )
            % {"n": missing}
        )


def _computed(plan: Plan, outcome: Outcome, now: datetime) -> Plan:
    """The plan that is released: the approved one, or, where the audience or what takes its places changed

    since, one of its own beside it.
    """
    if outcome.input_hash != plan.input_hash:
        Plan.objects.filter(pk=plan.pk, state=Plan.State.READY).update(state=Plan.State.STALE)
        plan = Plan.objects.create(
            campaign=plan.campaign,
            version=plan.version,
            method="",
            objective=plan.objective,
            seed=plan.seed,
            definition_hash=plan.definition_hash,
            made_by=plan.made_by,
            made_at=now,
        )
    plans.store(plan, outcome)
    return plan


def _keep(campaign: Campaign, plan: Plan, now: datetime) -> None:
    """Within the transaction that shows the touches: the campaign, its budgets and the plan they came from."""
    locked = Campaign.objects.select_for_update(of=("self",)).get(pk=campaign.pk)
    if locked.state in OVER:
        raise PlanError(_("The campaign was stopped before its release was done: it sends nothing."))
    if _is_released(locked):
        raise PlanError(_("The campaign was released meanwhile."))
    document = versions.holding(locked)
    limits = [
        (None, document["budget"]),
        *((entry["channel"], entry["budget"]) for entry in document["channels"]),
    ]
    for channel_id, amount in limits:
        if amount is not None:
            Budget.objects.update_or_create(
                campaign=locked,
                channel_id=channel_id,
                defaults={"amount": amount, "currency": document["currency"]},
            )
    Plan.objects.filter(pk=plan.pk).update(state=Plan.State.RELEASED)
    Campaign.objects.filter(pk=campaign.pk).update(release_plan=plan)
    campaign.release_plan = plan


def admit(campaign: Campaign, now: datetime) -> Released:
    """Late joiners: people of the segment who are no members yet become members, with touches for what is left.

    Budgets and places that are taken stay taken. Returns what was added.
    """
    document = versions.holding(campaign)
    with queries.hold(campaign.pk):
        if not _is_released(campaign) or cadence.is_triggered(document):
            return Released(0, 0, 0, 0)
        outcome = work.compute(campaign, now=now, document=document, whom=work.LATE_JOINERS)
        with transaction.atomic():
            locked = Campaign.objects.select_for_update(of=("self",)).get(pk=campaign.pk)
            if locked.state in OVER or len(outcome.people) == 0:
                return Released(0, 0, 0, 0)
            _copy(outcome, now)
        return Released(
            members=len(outcome.people),
            held_out=int(outcome.people.held_out.sum()),
            targets=int((outcome.targets.target > 0).sum()),
            touches=len(outcome.schedule),
        )


def extend(campaign: Campaign, now: datetime) -> Released:
    """Members get what an approved change added: further touches, channels, phases. What they have stays.

    Members keep stage, arm and zone; targets follow the definition that holds; money and places that are taken
    stay taken. Returns what was added (``targets``: rows written or changed).
    """
    document = versions.holding(campaign)
    with queries.hold(campaign.pk):
        if not _is_released(campaign) or cadence.is_triggered(document):
            return Released(0, 0, 0, 0)  # a triggered campaign gives what was added from the next time on
        outcome = work.compute(campaign, now=now, document=document, whom=work.MEMBERS)
        _check_approved(outcome.spec)
        with transaction.atomic():
            locked = Campaign.objects.select_for_update(of=("self",)).get(pk=campaign.pk)
            if locked.state in OVER or len(outcome.people) == 0:
                return Released(0, 0, 0, 0)
            queries.make_staging()
            binary.load(queries.CHANGED_TARGETS, rows.MEMBER_TARGET, rows.member_targets(outcome))
            changed = queries.take_targets()
            staged = binary.load(queries.MORE_TOUCHES, rows.TOUCH, rows.touches(outcome, now))
            touches = queries.take_touches()
            if touches < staged:
                raise RuntimeError(f"{staged - touches} touches were planned that the campaign has already")
            lifecycle_queries.release_withdrawn(campaign.pk, now)  # what came back unsent since the change
        return Released(0, 0, changed, touches)


def open_for(
    campaign: Campaign,
    document: Document,
    window: Window,
    openings: Sequence[int],
    customers: Sequence[int],
    *,
    known: bool,
    now: datetime,
) -> int:
    """A triggered campaign opens for these people: members (unless they are), targets and touches; how many touches.

    Who cannot be contacted at all any more is passed over. Raises :class:`PlanError`.
    """
    with queries.hold(campaign.pk):
        waiting = Opening.objects.filter(pk__in=openings, opened_at=None).count()
        if waiting < len(openings) or not _is_released(campaign):
            return 0  # another worker opened it
        outcome = work.compute(
            campaign, now=now, document=document, whom=work.MEMBERS if known else work.LATE_JOINERS,
            window=window, only=customers,
        )  # fmt: skip
        _check_approved(outcome.spec)
        with transaction.atomic():
            locked = Campaign.objects.select_for_update(of=("self",)).get(pk=campaign.pk)
            if locked.state in OVER:
                return 0
            triggered.opened(openings, outcome.people.ids.tolist(), window.turn, now)
            if len(outcome.people) == 0:
                return 0
            if not known:
                binary.load("campaigns_member", rows.MEMBER, rows.members(outcome, now))
            binary.load("campaigns_member_target", rows.MEMBER_TARGET, rows.member_targets(outcome))
            return binary.load("campaigns_touch", rows.TOUCH, rows.touches(outcome, now))
