"""What keeps dispatch honest through kills and pauses: claims in progress, and clocks."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class DispatchClaim(models.Model):
    """One claim of one worker, from its commit until the last of its attempts is recorded.

    ``token`` stands in ``Attempt.worker``. ``called`` holds the ids of attempts about to be handed to the
    provider; it is committed before each call. So when the lease has run out, an attempt in ``called`` may
    have arrived (unknown, never retried), and any other is known not to have been handed over.
    """

    token = models.CharField(max_length=80, primary_key=True)
    channel_id = models.IntegerField()
    claimed_at = models.DateTimeField()
    lease_until = models.DateTimeField(db_index=True)
    size = models.IntegerField(default=0)
    called = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        db_table = "campaigns_dispatch_claim"

    def __str__(self) -> str:
        return self.token


class Clock(models.Model):
    """When a recurring duty was last done, and up to which row.

    ``dispatch`` (the whole installation) and ``dispatch:<campaign>:<channel>`` tell pauses, outages and
    restored copies from a backlog; ``orders`` is the last order that was looked at for exits.
    """

    name = models.CharField(max_length=80, primary_key=True)
    at = models.DateTimeField()
    value = models.BigIntegerField(default=0)

    class Meta:
        db_table = "campaigns_clock"

    def __str__(self) -> str:
        return self.name


class DayCount(models.Model):
    """Messages claimed on a limited channel on a day of the installation's zone; by one campaign, or by all (0)."""

    channel_id = models.IntegerField()
    campaign_id = models.BigIntegerField(default=0)
    day = models.DateField()
    taken = models.IntegerField(default=0)

    class Meta:
        db_table = "campaigns_day_count"
        constraints = (
            models.UniqueConstraint(
                fields=("channel_id", "day", "campaign_id"), name="a_day_is_counted_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel_id} {self.day}: {self.taken}"
