"""What the first page tells of long work."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.http import HttpRequest

from audiences import jobs
from audiences.models import Job
from audiences.registers import HomeCard, home_cards

SHOWN = 5
FAILED_FOR = timedelta(days=1)  # a failure is news for a day


def _seen(request: HttpRequest) -> dict[str, Any]:
    """Labels of the kinds this person may see."""
    kinds = jobs.job_kinds.items()
    return {name: kind.label for name, kind in kinds if jobs.may_see(request.user, Job(kind=name))}


def running(request: HttpRequest) -> Mapping[str, Any] | None:
    """Work that waits or runs."""
    labels = _seen(request)
    found = Job.objects.filter(kind__in=labels, state__in=(Job.State.WAITING, Job.State.RUNNING))
    shown = list(found[:SHOWN])
    return {"jobs": shown, "labels": labels, "more": found.count() - len(shown)} if shown else None


def failed(request: HttpRequest) -> Mapping[str, Any] | None:
    """Work that failed since yesterday, unless the same was done since."""
    labels = _seen(request)
    recent = Job.objects.filter(kind__in=labels, state=Job.State.FAILED, finished_at__gte=Now() - FAILED_FOR)
    shown = [job for job in recent[: SHOWN * 4] if not _done_since(job)][:SHOWN]
    return {"jobs": shown, "labels": labels, "more": 0} if shown else None


def _done_since(job: Job) -> bool:
    return Job.objects.filter(
        kind=job.kind, subject=job.subject, state=Job.State.DONE, finished_at__gt=job.finished_at
    ).exists()


def register() -> None:
    """Called once, when the apps are ready."""
    home_cards.add("jobs.running", HomeCard("runs", "audiences/_card_jobs.html", running))
    home_cards.add("jobs.failed", HomeCard("wrong", "audiences/_card_jobs.html", failed))
