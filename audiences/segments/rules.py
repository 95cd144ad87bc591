"""The shape of a rule: a tree of ``all``, ``any`` and ``not`` whose leaves are of registered kinds.

{"all": [{"kind": "stage", "stages": ["member"]}, {"not": {"kind": "tag", "tags": ["vip"]}}]}
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import jsonschema
from django.utils.translation import gettext as _

from audiences.models import Segment
from audiences.registers import RuleKind, rule_kinds

MAX_DEPTH = 8
MAX_LEAVES = 60

Rule = Mapping[str, Any]
Path = tuple[int, ...]  # positions of children from the root; () is the root


class InvalidRule(Exception):
    """A rule that cannot be used. ``faults``: path of the node → what is wrong, in words."""

    def __init__(self, faults: Mapping[Path, str]) -> None:
        super().__init__("; ".join(faults.values()))
        self.faults = dict(faults)


def children(node: Rule) -> list[Rule]:
    """The nodes below one; none for a leaf."""
    if "all" in node:
        return list(node["all"])
    if "any" in node:
        return list(node["any"])
    if "not" in node:
        return [node["not"]]
    return []


def leaves(node: Rule) -> Iterator[Rule]:
    """All leaves, left to right."""
    if "kind" in node:
        yield node
    for child in children(node):
        yield from leaves(child)


def check(rule: Any, *, segment_id: int | None = None) -> None:
    """Raises :class:`InvalidRule` for a wrong shape, unknown kinds, missing values, or a cycle of segments.

    ``segment_id``: the segment the rule is for, which it must not refer to, directly or by others.
    """
    faults: dict[Path, str] = {}
    _check_node(rule, (), faults)
    if not faults and sum(1 for _leaf in leaves(rule)) > MAX_LEAVES:
        faults[()] = _("More than %(n)s conditions. Save parts of it as segments of their own.") % {
            "n": MAX_LEAVES
        }
    if not faults:
        _check_cycles(rule, segment_id, faults)
    if faults:
        raise InvalidRule(faults)


def _check_node(node: Any, path: Path, faults: dict[Path, str]) -> None:
    if not isinstance(node, Mapping):
        faults[path] = _("A condition must be an object.")
        return
    if len(path) > MAX_DEPTH:
        faults[path] = _("Groups are nested too deeply.")
        return
    groups = [name for name in ("all", "any", "not") if name in node]
    if len(groups) + ("kind" in node) != 1 or (groups and len(node) != 1):
        faults[path] = _("A node is either one group (all, any, not) or one condition with its kind.")
    elif groups and groups[0] != "not":
        if not isinstance(node[groups[0]], list) or not node[groups[0]]:
            faults[path] = _("This group is empty. Add a condition or remove the group.")
            return
        for position, child in enumerate(node[groups[0]]):
            _check_node(child, (*path, position), faults)
    elif groups:
        _check_node(node["not"], (*path, 0), faults)
    else:
        _check_leaf(node, path, faults)


def _check_leaf(leaf: Rule, path: Path, faults: dict[Path, str]) -> None:
    if not isinstance(leaf["kind"], str) or leaf["kind"] not in rule_kinds:
        faults[path] = _("There is no condition of the kind “%(kind)s”.") % {"kind": leaf["kind"]}
        return
    kind: RuleKind = rule_kinds.get(leaf["kind"])
    wrong = sorted(jsonschema.Draft202012Validator(dict(kind.schema)).iter_errors(dict(leaf)), key=str)
    if wrong:
        faults[path] = _fault_in_words(kind, wrong[0])


def _fault_in_words(kind: RuleKind, error: jsonschema.ValidationError) -> str:
    labels = {field.name: field.label for field in kind.fields}
    if error.validator == "required":
        required, given = cast(list[str], error.validator_value), cast(Rule, error.instance)
        missing = [name for name in required if name not in given]
        return _("%(kind)s: fill in “%(field)s”.") % {
            "kind": kind.label,
            "field": labels.get(missing[0], missing[0]),
        }
    name = str(error.absolute_path[0]) if error.absolute_path else ""
    if name:
        return _("%(kind)s: “%(value)s” does not fit “%(field)s”.") % {
            "kind": kind.label, "value": error.instance, "field": labels.get(name, name),
        }  # fmt: skip
    return f"{kind.label}: {error.message}"


def _check_cycles(rule: Rule, segment_id: int | None, faults: dict[Path, str]) -> None:
    """Follow references to other segments; none may lead back."""
    seen: set[int] = set()
    waiting = {leaf["segment"] for leaf in leaves(rule) if leaf["kind"] == "segment"}
    while waiting:
        if segment_id in waiting:
            faults[()] = _("The segment refers to itself, directly or through another segment.")
            return
        found = dict(Segment.objects.filter(pk__in=waiting).values_list("pk", "rule"))
        if missing := waiting - set(found):
            faults[()] = _("There is no segment %(pk)s any more.") % {"pk": min(missing)}
            return
        seen |= waiting
        waiting = {
            leaf["segment"]
            for other in found.values()
            if other
            for leaf in leaves(other)
            if leaf["kind"] == "segment"
        } - (seen - {segment_id or 0})
