"""What was loaded, from where, and what of it was bad."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models.jobs import Job


class ImportBatch(models.Model):
    """One load of one file (or one API call) of one kind through the COPY pipeline.

    ``mapping`` maps our columns to the source's: ``{"phone": "手机号"}``. ``totals`` holds completeness
    controls: rows, sums of amount columns, as read and as stored.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")
        REMOVED = "removed", _("Removed")

    kind = models.CharField(_("kind"), max_length=40)
    name = models.CharField(_("file name"), max_length=254)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(default=0)
    path = models.CharField(max_length=500, blank=True)  # stored copy, relative to the media folder
    mapping = models.JSONField(default=dict, blank=True)
    options = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    rows_read = models.BigIntegerField(default=0)
    rows_new = models.BigIntegerField(default=0)
    rows_changed = models.BigIntegerField(default=0)
    rows_same = models.BigIntegerField(default=0)
    rows_bad = models.BigIntegerField(default=0)
    totals = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class BadRow(models.Model):
    """A row that was refused: line in the source (header is line 1), column, value and reason."""

    batch = models.ForeignKey(ImportBatch, on_delete=models.CASCADE, related_name="bad_rows", db_index=False)
    line = models.BigIntegerField()
    column = models.CharField(max_length=80, blank=True)
    value = models.TextField(blank=True)
    reason = models.CharField(max_length=254)
    raw = models.JSONField(default=list)  # the cells as read, so that the file can be mended

    class Meta:
        indexes = (models.Index(fields=("batch", "line"), name="bad_row_by_line"),)

    def __str__(self) -> str:
        return f"{self.batch_id}:{self.line} {self.column}"
