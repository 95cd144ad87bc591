"""The one lock: whether somebody may be contacted now."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from audiences.models.customer import Customer


class ContactState(models.Model):
    """One row per customer from birth, locked whenever somebody may or may not be contacted.

    Opt-out, erasure, merge, claim and give-back all lock it, in customer order; conditions are read from
    the locked row, never from a snapshot.

    ``allowed`` and ``blocked`` hold :func:`audiences.vocabulary.permission_key` entries; contact is
    permitted when ``allowed`` has the exact key and ``blocked`` has neither it nor a ``*`` form of it.

    The ``recent_*`` arrays run parallel: one entry for each contact sent (or in flight) within the longest
    window of any rule, trimmed by time. ``recent_attempts`` holds the attempt id, or minus the id of an
    imported touch; ``recent_channels`` the channel id (no foreign key: channels stand later on the road).
    """

    customer = models.OneToOneField(
        Customer, primary_key=True, on_delete=models.PROTECT, related_name="contact_state"
    )
    allowed = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    blocked = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    erased = models.BooleanField(default=False)
    absorbed = models.BooleanField(default=False)  # merged into another: nothing is sent under this id
    recent_attempts = ArrayField(models.BigIntegerField(), default=list, blank=True)
    recent_channels = ArrayField(models.IntegerField(), default=list, blank=True)
    recent_at = ArrayField(models.DateTimeField(), default=list, blank=True)
    # Since when the recent contacts are complete; a rule longer than that waits for a rebuild.
    complete_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(recent_attempts__len=models.F("recent_channels__len"))
                & models.Q(recent_attempts__len=models.F("recent_at__len")),
                name="recent_contacts_run_parallel",
            ),
        )

    def __str__(self) -> str:
        return f"contact state of {self.customer_id}"
