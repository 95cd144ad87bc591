"""Stages by rule: prospect, member, customer, advocate. The marketer says which segment is which."""

import datetime as dt

from django.db import transaction
from django.db.models import Count
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.jobs import report
from audiences.models import Customer, Job, Segment, StageRule
from audiences.queries import stages as queries
from audiences.segments import compiling, rules
from audiences.segments.counting import generous
from audiences.vocabulary import Stage

RULED: tuple[str, ...] = (Stage.MEMBER, Stage.CUSTOMER, Stage.ADVOCATE)
"""Stages that have a rule; whom none holds is a prospect. Later ones win."""


def of_segments() -> dict[str, int | None]:
    """Stage → the segment whose people are of it; None where no rule is set."""
    found = {row.stage: row.rule.get("segment") for row in StageRule.objects.all()}
    return {stage: found.get(stage) for stage in RULED}


def set_segments(chosen: dict[str, int | None]) -> None:
    """Say which segment is which stage. Raises :class:`ValueError` for a segment that is not there."""
    with transaction.atomic():
        for position, stage in enumerate(RULED, 1):
            segment = chosen.get(stage)
            if segment is None:
                StageRule.objects.filter(stage=stage).delete()
                continue
            if not Segment.objects.filter(pk=segment, archived_at=None).exists():
                raise ValueError(_("There is no segment %(pk)s any more.") % {"pk": segment})
            rule = {"kind": "segment", "segment": segment}
            rules.check(rule)
            StageRule.objects.update_or_create(stage=stage, defaults={"position": position, "rule": rule})


def recompute(now: dt.datetime) -> dict[str, int]:
    """Give everybody the stage of the highest rule that holds; how many came to each. Without rules: nothing."""
    found = []
    for row in StageRule.objects.order_by("position"):
        sql, params = compiling.matching(row.rule).values("pk").query.sql_with_params()
        found.append((row.stage, row.position, sql, tuple(params)))
    if not found:
        return {}
    with generous():
        return queries.restage(found, now)


def counts() -> dict[str, int]:
    """Stage → how many people are of it now."""
    rows = Customer.objects.filter(merged_into=None, erased_at=None).values("stage").annotate(n=Count("pk"))
    return {row["stage"]: row["n"] for row in rows.order_by()}


def run(job: Job) -> dict[str, int]:
    """The job: stages anew."""
    report(job, 0, 1, _("Finding the stage of everybody"))
    return recompute(timezone.now())
