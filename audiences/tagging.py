"""Labels on customers."""

from audiences.identity import survivor
from audiences.models import Customer, CustomerTag, Tag


def put(customer_id: int, name: str, *, source: str, group: str = "") -> bool:
    """Put a tag on the survivor; the tag is made if there is none of the name. Whether it is new there."""
    tag, _made = Tag.objects.get_or_create(name=name, defaults={"group": group})
    return CustomerTag.objects.get_or_create(
        customer_id=survivor(customer_id), tag=tag, defaults={"source": source}
    )[1]


def together(customer_id: int) -> list[int]:
    """The ids whose rows are one person's: the survivor's and those of all merged into it."""
    one = survivor(customer_id)
    return [one, *Customer.objects.filter(merged_into_id=one).values_list("pk", flat=True)]
