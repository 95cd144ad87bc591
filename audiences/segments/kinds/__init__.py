"""The kinds of conditions that audiences knows itself; later apps register more."""

from audiences.registers import rule_kinds
from audiences.segments.kinds.attributes import ATTRIBUTE, STAGE
from audiences.segments.kinds.commerce import BEHAVIOUR, ORDER
from audiences.segments.kinds.contact import CONSENT, IDENTITY
from audiences.segments.kinds.marks import SCORE, SEGMENT, TAG


def register() -> None:
    """Called once, from ``AudiencesConfig.ready``."""
    for name, kind in (
        ("attribute", ATTRIBUTE),
        ("stage", STAGE),
        ("tag", TAG),
        ("order", ORDER),
        ("behaviour", BEHAVIOUR),
        ("consent", CONSENT),
        ("identity", IDENTITY),
        ("score", SCORE),
        ("segment", SEGMENT),
    ):
        rule_kinds.add(name, kind)
