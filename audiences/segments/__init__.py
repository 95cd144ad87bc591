"""Segments: a saved rule, or a fixed list, of customers.

- :mod:`rules`: the shape of a rule, and what is wrong with one (``check``).
- :mod:`kinds`: conditions by kind; later apps add theirs to ``audiences.registers.rule_kinds``.
- :mod:`compiling`: a rule as a queryset of customers (``matching``, ``customers``).
- :mod:`counting`: how many (``count``, ``preview``) and how many by which medium (``reach``).
- :mod:`words`: a rule as a sentence.
"""

from django.db.models import QuerySet

from audiences.models import Customer, Segment
from audiences.segments.compiling import customers


def customer_ids(segment: Segment) -> QuerySet[Customer, int]:
    """The ids of a segment's customers, one column: ``customer_ids(s).query.sql_with_params()``."""
    return customers(segment).values_list("pk", flat=True)
