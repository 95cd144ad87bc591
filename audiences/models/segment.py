"""A saved rule, or a fixed list, of customers."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from audiences.models.customer import Customer
from audiences.tracking import tracked


@tracked(exclude=("counted", "counted_at", "updated_at"))
class Segment(models.Model):
    """``rule`` is a tree: ``{"all": [...]}``, ``{"any": [...]}``, ``{"not": node}`` or a leaf

    ``{"kind": "attribute", ...}`` whose kind is in the register of :mod:`audiences.segments.kinds`.
    A fixed list has ``rule`` null and :class:`SegmentMember` rows.
    """

    name = models.CharField(_("name"), max_length=120, unique=True)
    description = models.TextField(_("description"), blank=True)
    rule = models.JSONField(_("rule"), null=True, blank=True)
    counted = models.BigIntegerField(null=True, blank=True)
    counted_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class SegmentMember(models.Model):
    """A customer in a fixed list."""

    segment = models.ForeignKey(Segment, on_delete=models.CASCADE, related_name="members", db_index=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("segment", "customer"), name="a_customer_is_listed_once_a_segment"
            ),
        )

    def __str__(self) -> str:
        return f"{self.segment_id}: {self.customer_id}"


@tracked(exclude=("updated_at",))
class StageRule(models.Model):
    """When a customer is of a stage. The highest ``position`` whose rule holds wins; none: prospect."""

    stage = models.CharField(_("stage"), max_length=16, unique=True)
    position = models.SmallIntegerField()
    rule = models.JSONField(_("rule"))
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("position",)

    def __str__(self) -> str:
        return self.stage
