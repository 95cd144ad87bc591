"""The channels that reach persons, for the builder of segments."""

from audiences.registers import ReachTarget
from audiences.vocabulary import Purpose
from channels.models import Channel
from channels.vocabulary import Observability


def targets() -> list[ReachTarget]:
    """Channels in use, by name. A platform is given lists of people, which is a purpose of its own."""
    rows = Channel.objects.exclude(state=Channel.State.ARCHIVED).exclude(
        observability=Observability.PLACEMENT
    )
    return [
        ReachTarget(
            key=f"channel:{one.pk}",
            label=one.name,
            brand_id=one.brand_id,
            medium=one.medium,
            note=one.get_medium_display(),
            purpose=Purpose.UPLOAD if one.observability == Observability.PERSON_TARGETED else Purpose.CONTACT,
        )
        for one in rows.order_by("medium", "name")
    ]
