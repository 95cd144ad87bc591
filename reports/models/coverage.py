"""Coverage, counted as touches and targets change. What it is the sum of: ``reports/queries/coverage_days.py``."""

import datetime as dt

from django.db import models

# Targets have no day: what was never planned is never due.
NO_DAY = dt.date.min


class Cell(models.Model):
    """A part of a campaign, and how many touches of it stand how.

    A row is either touches of a ``day`` (a calendar day of the campaign's zone, of the touch's due time), by
    state and reason; or, on ``NO_DAY`` with an empty ``state``, what was aimed at: people, their targets, what
    was planned of them, and as ``reason`` the cause of the difference.
    """

    campaign_id = models.BigIntegerField()
    day = models.DateField()
    round = models.SmallIntegerField()
    channel_id = models.IntegerField()
    stage = models.CharField(max_length=16)
    state = models.CharField(max_length=10, blank=True)
    reason = models.CharField(max_length=24, blank=True)
    touches = models.BigIntegerField(default=0)
    people = models.BigIntegerField(default=0)
    target = models.BigIntegerField(default=0)
    planned = models.BigIntegerField(default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.campaign_id} {self.day} {self.channel_id} {self.state}: {self.touches}"


class CoverageDay(Cell):
    """What was counted so far, one row a cell. Figures are these and :class:`CoverageChange` together."""

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("campaign_id", "day", "round", "channel_id", "stage", "state", "reason"),
                name="a_coverage_day_is_one_row",
            ),
        )


class CoverageChange(Cell):
    """What a statement added to a cell, or took from it (then negative); written in its own transaction.

    Triggers of statements, never of rows, write them. They are folded into :class:`CoverageDay` and go.
    """

    class Meta:
        indexes = (models.Index(fields=("campaign_id",), name="coverage_change_by_campaign"),)


class CoverageStanding(models.Model):
    """How far a campaign is counted; and its figures about people as they were ``people_at``.

    ``campaign_id`` 0 stands for all campaigns. ``touch_table`` is the oid of the campaign's own partition of
    touches, 0 if it has none: a partition that was filled aside and attached is counted from its rows.
    ``people`` as :func:`reports.queries.people.figures` gives them.
    """

    campaign_id = models.BigIntegerField(primary_key=True)
    zone = models.CharField(max_length=64, blank=True)
    touch_table = models.BigIntegerField(default=0)
    counted_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True)
    differences = models.IntegerField(default=0)  # cells that were wrong when last checked: must be 0
    people = models.JSONField(default=dict)
    people_at = models.DateTimeField(null=True)
    people_seconds = models.FloatField(default=0)
    people_changed = models.BooleanField(default=True)  # since ``people_at``

    def __str__(self) -> str:
        return f"{self.campaign_id} at {self.people_at}"
