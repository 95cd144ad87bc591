"""The company's brands. Most have one and never think of it."""

from audiences.models import Brand


def default_brand() -> Brand:
    """The first brand; made if somebody removed all of them."""
    return (
        Brand.objects.order_by("id").first()
        or Brand.objects.get_or_create(code="main", defaults={"name": "Main brand"})[0]
    )


def brand_by_code(code: str) -> Brand:
    """Raises :class:`ValueError` with the known codes."""
    found = Brand.objects.filter(code=code).first()
    if found is None:
        known = ", ".join(Brand.objects.values_list("code", flat=True))
        raise ValueError(f"There is no brand {code!r}; known: {known}.")
    return found
