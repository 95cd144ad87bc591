"""A rule as a form and back: the builder of segments works by posting the whole form with one action.

The form names every node by its path: ``r`` is the root, ``r.0`` its first child, ``r.0.2`` … For each,
``<path>:node`` is ``all``, ``any`` or ``leaf``, ``<path>:not`` is set when it is excluded; a leaf has
``<path>:kind`` and ``<path>.<field>`` for each field. An action is ``add:<path>``, ``group:<path>``,
``remove:<path>``, ``ungroup:<path>`` or empty. So it works the same with htmx and without scripts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from django.http import QueryDict

from audiences.registers import RuleField, RuleKind, rule_kinds
from audiences.segments.rules import InvalidRule, Rule, check

ROOT = "r"
MOST_CHILDREN = 60


@dataclass
class Input:
    """One field of a condition, ready to be shown."""

    name: str
    field: RuleField
    value: Any
    choices: list[tuple[str, Any, bool]]  # value, label, chosen
    missing: bool = False  # the value chosen is no longer among the choices


@dataclass
class Node:
    """A group (``all``, ``any``) with children, or a condition (``leaf``) with its kind and values."""

    node: str = "all"
    excluded: bool = False
    children: list["Node"] = field(default_factory=list)
    kind: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    path: str = ROOT
    fault: str = ""

    @property
    def is_group(self) -> bool:
        return self.node != "leaf"

    @property
    def label(self) -> Any:
        return rule_kinds.get(self.kind).label if self.kind in rule_kinds else self.kind

    @property
    def inputs(self) -> list[Input]:
        if self.kind not in rule_kinds:
            return []
        return [_input(self, one) for one in rule_kinds.get(self.kind).fields]

    @property
    def depth(self) -> int:
        return self.path.count(".")


# From a rule, and to one -------------------------------------------------------------------------------


def from_rule(rule: Rule | None) -> Node:
    """The tree to show; the root is always a group."""
    root = _from_rule(rule) if rule else Node()
    if not root.is_group:
        root = Node("all", children=[root])
    return number(root)


def _from_rule(rule: Rule) -> Node:
    if "not" in rule:
        node = _from_rule(rule["not"])
        node.excluded = not node.excluded
        return node
    for name in ("all", "any"):
        if name in rule:
            return Node(name, children=[_from_rule(child) for child in rule[name]])
    values = {key: value for key, value in rule.items() if key != "kind"}
    return Node("leaf", kind=str(rule.get("kind", "")), values=values)


def to_rule(node: Node) -> dict[str, Any]:
    """The rule a tree says. Empty fields are left out; numbers become numbers."""
    if node.is_group:
        rule: dict[str, Any] = {node.node: [to_rule(child) for child in node.children]}
    else:
        rule = {
            "kind": node.kind,
            **{name: value for name, value in node.values.items() if value not in ("", [], None)},
        }
    return {"not": rule} if node.excluded else rule


def check_tree(root: Node) -> dict[str, Any] | None:
    """The rule, if it is a good one; else None, with what is wrong told on the nodes."""
    rule = to_rule(root)
    try:
        check(rule)
    except InvalidRule as error:
        for path, fault in error.faults.items():
            _at_rule_path(root, path).fault = fault
        return None
    return rule


def _at_rule_path(root: Node, path: Sequence[int]) -> Node:
    """The node of a path in the rule, in which an exclusion is a level of its own."""
    node, rest = root, list(path)
    while True:
        if node.excluded:
            if not rest:
                return node
            rest.pop(0)
        if not rest or rest[0] >= len(node.children):
            return node
        node = node.children[rest.pop(0)]


# From a form ---------------------------------------------------------------------------------------------


def from_form(data: QueryDict) -> Node:
    """The tree a form carries. A form without a tree is an empty one."""
    return number(_read(data, ROOT, 0)) if f"{ROOT}:node" in data else from_rule(None)


def _read(data: QueryDict, path: str, depth: int) -> Node:
    name = data.get(f"{path}:node", "all")
    excluded = bool(data.get(f"{path}:not"))
    if name == "leaf":
        kind = data.get(f"{path}:kind", "")
        fields = rule_kinds.get(kind).fields if kind in rule_kinds else ()
        values = {one.name: _value(data, f"{path}.{one.name}", one) for one in fields}
        return Node("leaf", excluded, kind=kind, values=values)
    children = [
        _read(data, f"{path}.{n}", depth + 1)
        for n in range(MOST_CHILDREN)
        if depth < 12 and f"{path}.{n}:node" in data
    ]
    return Node(name if name in ("all", "any") else "all", excluded, children)


def _value(data: QueryDict, name: str, one: RuleField) -> Any:
    if one.kind == "multichoice":
        return [_as_offered(one, value) for value in data.getlist(name)]
    text = data.get(name, "").strip()
    if one.kind == "number":
        return _number(text)
    return _as_offered(one, text) if one.kind == "choice" else text


def _number(text: str) -> Any:
    """A number as JSON has it; what is none stays text, and the schema tells."""
    try:
        number_ = Decimal(text.replace(",", "").replace("，", ""))
    except InvalidOperation:
        return text
    if not number_.is_finite():
        return text
    return int(number_) if number_ == number_.to_integral_value() else float(number_)


def _as_offered(one: RuleField, text: str) -> Any:
    """The choice a text means, in the type it was offered in: a campaign's id is a number."""
    for value, _label in one.choices() if one.choices else ():
        if str(value) == text:
            return value
    return text


# What the buttons do ----------------------------------------------------------------------------------------


def act(root: Node, action: str, data: Mapping[str, str]) -> Node:
    """Carry out one action of the builder; an action nobody knows does nothing."""
    name, _colon, path = action.partition(":")
    found = find(root, path)
    if found is None:
        return root
    node, parent = found
    if name == "add" and node.is_group:
        kind = data.get(f"{path}:new", "")
        if kind in rule_kinds:
            node.children.append(Node("leaf", kind=kind, values=_first_values(rule_kinds.get(kind))))
    elif name == "group" and node.is_group:
        node.children.append(Node("any" if node.node == "all" else "all"))
    elif name == "remove" and parent is not None:
        parent.children.remove(node)
    elif name == "ungroup" and parent is not None and node.is_group:
        place = parent.children.index(node)
        parent.children[place : place + 1] = node.children
    elif name == "copy" and parent is not None:
        parent.children.insert(parent.children.index(node) + 1, _from_rule(to_rule(node)))
    return number(root)


def find(node: Node, path: str, parent: Node | None = None) -> tuple[Node, Node | None] | None:
    """The node at a path, and its parent."""
    if node.path == path:
        return node, parent
    for child in node.children:
        if path == child.path or path.startswith(f"{child.path}."):
            return find(child, path, node)
    return None


def number(node: Node, path: str = ROOT) -> Node:
    """Give every node its path."""
    node.path = path
    for n, child in enumerate(node.children):
        number(child, f"{path}.{n}")
    return node


def _first_values(kind: RuleKind) -> dict[str, Any]:
    """A new condition begins with the first choice of its required choices, so that it means something."""
    values: dict[str, Any] = {}
    for one in kind.fields:
        if one.kind == "choice" and one.choices and one.required:
            offered = list(one.choices())
            if offered:
                values[one.name] = offered[0][0]
    return values


# Showing -------------------------------------------------------------------------------------------------------


def _input(node: Node, one: RuleField) -> Input:
    value = node.values.get(one.name, [] if one.kind == "multichoice" else "")
    chosen = {str(each) for each in value} if isinstance(value, list) else {str(value)}
    offered = [
        (str(each), label, str(each) in chosen) for each, label in (one.choices() if one.choices else ())
    ]
    known = {each for each, _label, _chosen in offered}
    lost = sorted(chosen - known - {""}) if one.choices else []
    offered += [(each, each, True) for each in lost]
    return Input(f"{node.path}.{one.name}", one, value, offered, bool(lost))


def menu() -> list[tuple[Any, list[tuple[str, Any]]]]:
    """The kinds of conditions by group, for the menu of the builder."""
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, kind in rule_kinds.items():
        groups.setdefault(str(kind.group), []).append((name, kind.label))
    return list(groups.items())
