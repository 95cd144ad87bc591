"""The states of a campaign and the only ways from one to another.

    draft → submitted → approved → scheduled → running ⇄ paused → finished → reviewed

Every way locks the campaign's row first and names the states it leads from, so that two people, two clicks or
two workers cannot go it twice. What cannot be gone raises :class:`IllegalTransition`, whose text says why.
A released campaign keeps its state while a change of it is submitted and approved.
"""

from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from audiences import jobs
from audiences.models import Job
from campaigns import approvals, changes, content, readiness, rounds, versions
from campaigns.models import Approval, Campaign, CampaignVersion, Plan
from campaigns.queries import lifecycle as queries
from campaigns.queries import steering
from campaigns.vocabulary import CampaignState

RELEASE_JOB = "release"
WIND_DOWN_JOB = "wind_down"
STOPPABLE = (CampaignState.APPROVED, CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED)


class IllegalTransition(Exception):
    """The campaign's state does not permit this; the text says what state it is in and what to do."""


class NotReady(IllegalTransition):
    """Something is missing before it can be submitted; ``missing`` lists it."""

    def __init__(self, missing: list[readiness.Missing]) -> None:
        super().__init__(" ".join(entry.text for entry in missing))
        self.missing = missing


def _expect(campaign: Campaign, *states: str) -> None:
    if campaign.state not in states:
        raise IllegalTransition(
            _("The campaign is in state “%(state)s” now; reload the page to see what can be done.")
            % {"state": campaign.get_state_display()}
        )


def _move(campaign: Campaign, to: str, reason: str = "") -> None:
    """The state of a locked campaign, and only that."""
    campaign.state, campaign.state_reason = to, reason[:254]
    campaign.save(update_fields=["state", "state_reason", "updated_at"])


# Submitting and deciding --------------------------------------------------------------------------


def submit(campaign: Campaign, user: AbstractUser, now: datetime) -> CampaignVersion:
    """Ask for approval of a draft, or of the change of a released campaign.

    Raises :class:`NotReady` when something is missing and :class:`IllegalTransition` when it waits already.
    """
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        first = campaign.state == CampaignState.DRAFT
        _expect(campaign, CampaignState.DRAFT, *versions.RELEASED)
        version = None if first else versions.open_version(campaign)
        if not first and (version is None or version.state != CampaignVersion.State.DRAFT):
            raise IllegalTransition(
                _("The change waits for approval already.") if version else _("There is no change to submit.")
            )
        document = versions.working(campaign)
        found = readiness.blocking(readiness.missing(document, now=now, released=not first))
        plan = campaign.plans.first()
        problem = readiness.plan_problem(plan, document)
        if problem:
            found.append(readiness.Missing("forecast", problem))
        if found:
            raise NotReady(found)
        version = versions.snapshot(campaign, user, plan, now)
        if first:
            campaign.submitted_by_id, campaign.submitted_at = user.pk, now
            campaign.save(update_fields=["submitted_by", "submitted_at"])
            _move(campaign, CampaignState.SUBMITTED)
        return version


def _words_hold(version: CampaignVersion, now: datetime) -> None:
    """A rule that came into force since the version was submitted holds for it as well."""
    missing = readiness.missing(version.definition, now=now, released=True)
    broken = [entry.text for entry in readiness.blocking(missing) if entry.step == "content"]
    if broken:
        raise IllegalTransition(
            _("Its words break a rule that holds now. Reject it, so that they can be mended.")
            + " "
            + " ".join(broken)
        )


def withdraw(campaign: Campaign, user: AbstractUser, now: datetime) -> None:
    """Take a submitted version back, to edit on. What was decided on it so far counts no more."""
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        version = _submitted(campaign)
        _close(campaign, version, CampaignVersion.State.WITHDRAWN, now)


def reject(version: CampaignVersion, user: AbstractUser, step: str, comment: str, now: datetime) -> None:
    """Send a version back to its makers with the reason."""
    if not comment.strip():
        raise IllegalTransition(_("Say why: its makers have to know what to change."))
    with transaction.atomic():
        campaign, version = _lock_submitted(version)
        _decide(campaign, version, user, step, Approval.Decision.REJECTED, comment, now)
        _close(campaign, version, CampaignVersion.State.REJECTED, now)


def approve(
    version: CampaignVersion, user: AbstractUser, step: str, comment: str, now: datetime
) -> Job | None:
    """Take one step of the approval. The last one makes the version hold and starts its release: the job.

    Raises :class:`IllegalTransition` when the version is not the one that waits, or when its plan, segment
    or words changed since it was submitted; :class:`campaigns.approvals.NotPermitted` for the wrong person.
    """
    with transaction.atomic():
        campaign, version = _lock_submitted(version)
        if not versions.is_current(version):
            raise IllegalTransition(
                _(
                    "Its segment or its words were changed after it was submitted. Reject it, and look at it again."
                )
            )
        _words_hold(version, now)
        first = campaign.state == CampaignState.SUBMITTED
        problem = readiness.plan_problem(version.plan, version.definition)
        if problem:
            raise IllegalTransition(
                _("It was submitted with a forecast that no longer holds.") + " " + problem
            )
        _decide(campaign, version, user, step, Approval.Decision.APPROVED, comment, now)
        if approvals.steps_open(version):
            return None
        content.freeze(versions.message_versions(version.definition).values(), now)
        version.state = CampaignVersion.State.APPROVED
        version.save(update_fields=["state"])
        campaign.version = version.number
        campaign.save(update_fields=["version"])
        if not first:
            return changes.take_force(campaign, version, user, now)
        campaign.release_plan = version.plan
        campaign.save(update_fields=["release_plan"])
        _move(campaign, CampaignState.APPROVED)
        rounds.write_rounds(campaign, version.number)
        return start_release(campaign, version.plan, user)


def start_release(campaign: Campaign, plan: Plan | None, user: AbstractUser | None) -> Job:
    """The job that turns an approved plan into members and touches."""
    arguments = {"campaign": campaign.pk, "plan": plan.pk if plan else None}
    return jobs.start(RELEASE_JOB, f"campaign:{campaign.pk}", arguments, user)


def retry_release(campaign: Campaign, user: AbstractUser, now: datetime) -> Job:
    """Begin the release of an approved campaign again, when the last one failed or was cancelled."""
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        _expect(campaign, CampaignState.APPROVED)
        running = Job.objects.filter(kind=RELEASE_JOB, subject=f"campaign:{campaign.pk}", finished_at=None)
        if running.exists():
            raise IllegalTransition(_("The release runs already."))
        return start_release(campaign, campaign.release_plan, user)


def _lock_submitted(version: CampaignVersion) -> tuple[Campaign, CampaignVersion]:
    campaign = versions.lock(version.campaign_id)
    waiting = versions.open_version(campaign)
    if waiting is None or waiting.pk != version.pk or waiting.state != CampaignVersion.State.SUBMITTED:
        raise IllegalTransition(_("This version does not wait for a decision any more. Reload the page."))
    return campaign, waiting


def _submitted(campaign: Campaign) -> CampaignVersion:
    version = versions.open_version(campaign)
    if version is None or version.state != CampaignVersion.State.SUBMITTED:
        raise IllegalTransition(_("Nothing of this campaign waits for approval."))
    return version


def _decide(
    campaign: Campaign,
    version: CampaignVersion,
    user: AbstractUser,
    step: str,
    decision: str,
    comment: str,
    now: datetime,
) -> None:
    if step not in approvals.steps_needed(version):
        raise IllegalTransition(_("This version does not need that step."))
    if step not in approvals.steps_open(version):
        raise IllegalTransition(_("Somebody decided on this step already. Reload the page."))
    approvals.check_may_decide(campaign, version, user, step)
    try:
        with transaction.atomic():
            Approval.objects.create(
                version=version,
                step=step,
                decision=decision,
                comment=comment.strip(),
                submitted_by=version.made_by,
                decided_by_id=user.pk,
                decided_at=now,
            )
    except IntegrityError:  # the database's own word: a step is decided once, and never by the maker
        raise IllegalTransition(_("Somebody decided on this step already. Reload the page.")) from None


def _close(campaign: Campaign, version: CampaignVersion, state: str, now: datetime) -> None:
    """End a submitted version. A draft goes on in the tables, a change in a new draft version."""
    version.state = state
    version.save(update_fields=["state"])
    if campaign.state == CampaignState.SUBMITTED:
        _move(campaign, CampaignState.DRAFT)
        return
    CampaignVersion.objects.create(
        campaign=campaign,
        number=versions.next_number(campaign),
        definition=version.definition,
        difference=version.difference,
        state=CampaignVersion.State.DRAFT,
        made_by=version.made_by,
        made_at=now,
    )


# Running ------------------------------------------------------------------------------------------


def released(campaign: Campaign, now: datetime) -> str:
    """Members and touches are written: scheduled, or running when its start has come; the new state.

    A campaign that was stopped meanwhile stays so, and what was written is wound down.
    """
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        if campaign.state == CampaignState.APPROVED:
            begun = campaign.starts_at is None or campaign.starts_at <= now
            campaign.released_at = now
            campaign.save(update_fields=["released_at"])
            _move(campaign, CampaignState.RUNNING if begun else CampaignState.SCHEDULED)
        elif campaign.state == CampaignState.FINISHED:
            _wind_down(campaign, None)
        return campaign.state


def start_due(now: datetime) -> int:
    """Called by beat: scheduled campaigns whose start has come."""
    return len(queries.start_due(now))


def finish_due(now: datetime) -> int:
    """Called by beat: campaigns whose end has come and that have nothing open."""
    finished = queries.finish_due(now)
    for campaign_id in finished:
        queries.end_members(campaign_id, now)
    return len(finished)


def pause(campaign: Campaign, user: AbstractUser, now: datetime, reason: str = "") -> None:
    """Nothing more is claimed from the next claim on: claims read the state. Its ads are paused on the platforms."""
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        _expect(campaign, CampaignState.RUNNING)
        _move(campaign, CampaignState.PAUSED, reason or _("Paused by %(who)s") % {"who": user})
        steering.hold(now)


def resume(campaign: Campaign, user: AbstractUser, now: datetime) -> None:
    """Go on with what is not overdue; what became overdue is a gap, never fired late."""
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        _expect(campaign, CampaignState.PAUSED)
        if campaign.ends_at is not None and campaign.ends_at <= now:
            raise IllegalTransition(
                _("Its end has passed: there is nothing to resume. Stop it, or duplicate it.")
            )
        _move(campaign, CampaignState.RUNNING)
        steering.hold(now)


def stop(campaign: Campaign, user: AbstractUser, reason: str, now: datetime) -> Job:
    """End it now, for good. Nothing more is claimed at once; the job lets go of what is unsent."""
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        _expect(campaign, *STOPPABLE)
        version = versions.open_version(campaign)
        if version is not None:
            version.state = CampaignVersion.State.WITHDRAWN
            version.save(update_fields=["state"])
        for job_id in Job.objects.filter(
            kind=RELEASE_JOB, subject=f"campaign:{campaign.pk}", finished_at=None
        ).values_list("pk", flat=True):
            jobs.cancel(job_id)
        campaign.finished_at = now
        campaign.save(update_fields=["finished_at"])
        told = (
            _("Stopped by %(who)s: %(reason)s") % {"who": user, "reason": reason.strip()}
            if reason.strip()
            else (_("Stopped by %(who)s") % {"who": user})
        )
        _move(campaign, CampaignState.FINISHED, told)
        steering.hold(now)
        return _wind_down(campaign, user)


def _wind_down(campaign: Campaign, user: AbstractUser | None) -> Job:
    return jobs.start(WIND_DOWN_JOB, f"campaign:{campaign.pk}", {"campaign": campaign.pk}, user)


def review(campaign: Campaign, user: AbstractUser, text: str, now: datetime) -> None:
    """Close it with what was learned."""
    if not text.strip():
        raise IllegalTransition(_("Write what was learned: it is what the next campaign starts from."))
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        _expect(campaign, CampaignState.FINISHED, CampaignState.REVIEWED)
        campaign.review = text.strip()
        campaign.save(update_fields=["review"])
        _move(campaign, CampaignState.REVIEWED, campaign.state_reason)


def delete(campaign: Campaign) -> None:
    """Remove a draft that was never submitted. What was ever decided on is kept."""
    with transaction.atomic():
        campaign = versions.lock(campaign.pk)
        _expect(campaign, CampaignState.DRAFT)
        if campaign.versions.exists():
            raise IllegalTransition(
                _("It was submitted before, so its history is kept. Leave it as a draft.")
            )
        campaign.delete()
