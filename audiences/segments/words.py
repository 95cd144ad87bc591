"""A rule as a sentence."""

from django.utils.translation import gettext as _

from audiences.models import Segment
from audiences.registers import rule_kinds
from audiences.segments.rules import Rule


def sentence(node: Rule) -> str:
    """What a rule says, for people. Inner groups stand in parentheses."""
    if "all" in node:
        return _(" and ").join(_inner(child) for child in node["all"])
    if "any" in node:
        return _(" or ").join(_inner(child) for child in node["any"])
    if "not" in node:
        return _("not (%(condition)s)") % {"condition": sentence(node["not"])}
    return str(rule_kinds.get(node["kind"]).sentence(node))


def _inner(node: Rule) -> str:
    grouped = ("all" in node and len(node["all"]) > 1) or ("any" in node and len(node["any"]) > 1)
    return f"({sentence(node)})" if grouped else sentence(node)


def in_words(segment: Segment) -> str:
    """The rule of a segment, or that it is a list."""
    return sentence(segment.rule) if segment.rule else _("a fixed list")
