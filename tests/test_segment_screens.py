"""Segments on screen: the builder's form says the rule, its buttons change it, and what it counts is so."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences import consent, identity, jobs, segment_form, segments_saved
from audiences.brands import default_brand
from audiences.models import Customer, ImportBatch, Segment, SegmentMember
from audiences.segments import compiling
from tests.import_files import counts, load

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

LEAVES = st.sampled_from(
    [
        {"kind": "attribute", "field": "city", "op": "is", "value": "上海"},
        {"kind": "attribute", "field": "attributes.size", "op": "known"},
        {"kind": "stage", "stages": ["member", "customer"]},
        {"kind": "order", "measure": "orders", "op": "at_least", "value": 3, "days": 365},
        {"kind": "order", "measure": "amount", "op": "at_most", "value": 99.5},
        {"kind": "tag", "tags": ["vip"]},
        {"kind": "identity", "identity": "phone"},
    ]
)
RULES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"all": nodes}),
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"any": nodes}),
        inner.filter(lambda node: "not" not in node).map(lambda node: {"not": node}),
    ),
    max_leaves=8,
)


def form(root: segment_form.Node) -> QueryDict:
    """The form a browser sends for a tree, by what the templates put into it."""
    data = QueryDict(mutable=True)

    def put(node: segment_form.Node) -> None:
        data[f"{node.path}:node"] = node.node
        if node.excluded:
            data[f"{node.path}:not"] = "1"
        if node.is_group:
            for child in node.children:
                put(child)
            return
        data[f"{node.path}:kind"] = node.kind
        for one in node.inputs:
            if one.field.kind == "multichoice":
                data.setlist(one.name, [value for value, _label, chosen in one.choices if chosen])
            else:
                data[one.name] = str(one.value)

    put(root)
    return data


@pytest.mark.django_db
@settings(max_examples=150, deadline=None)
@given(rule=RULES)
def test_a_rule_goes_through_the_form_and_back_unchanged(rule: dict[str, Any]) -> None:
    root = segment_form.from_rule(rule)
    wanted = rule if set(rule) & {"all", "any"} or _is_excluded_group(rule) else {"all": [rule]}
    assert segment_form.to_rule(root) == wanted
    assert segment_form.to_rule(segment_form.from_form(form(root))) == wanted
    assert segment_form.check_tree(root) == wanted


def _is_excluded_group(rule: dict[str, Any]) -> bool:
    return "not" in rule and bool(set(rule["not"]) & {"all", "any"})


@pytest.mark.django_db
def test_the_buttons_build_a_tree() -> None:
    root = segment_form.from_rule(None)
    root = segment_form.act(root, "add:r", {"r:new": "stage"})
    root = segment_form.act(root, "group:r", {})
    root = segment_form.act(root, "add:r.1", {"r.1:new": "tag"})
    root = segment_form.act(root, "copy:r.0", {})
    assert [(child.path, child.node, child.kind) for child in root.children] == [
        ("r.0", "leaf", "stage"),
        ("r.1", "leaf", "stage"),
        ("r.2", "any", ""),
    ]
    assert root.children[2].children[0].path == "r.2.0"
    root = segment_form.act(root, "ungroup:r.2", {})
    root = segment_form.act(root, "remove:r.0", {})
    assert [child.kind for child in root.children] == ["stage", "tag"]
    for nonsense in ("", "remove:r", "add:r.9", "add:r", "explode:r.0"):
        root = segment_form.act(root, nonsense, {"r:new": "no such kind"})
    assert len(root.children) == 2


@pytest.mark.django_db
def test_a_fault_is_told_at_its_condition() -> None:
    root = segment_form.from_rule(
        {"all": [{"kind": "stage", "stages": ["member"]}, {"not": {"any": [{"kind": "tag", "tags": []}]}}]}
    )
    assert segment_form.check_tree(root) is None
    assert root.children[0].fault == ""
    assert root.children[1].children[0].fault


@pytest.mark.django_db
def test_a_marketer_builds_counts_and_saves_a_segment(as_marketer: Client) -> None:
    load(
        "customers",
        "name,phone,email,city,consent_sms\nAnn,13812345678,,上海,yes\nBob,13912345678,b@b.cn,上海,no\nCid,13712345678,,北京,yes\n",
    )
    page = as_marketer.get("/segments/new/").content.decode()
    assert "Choose a first condition" in page
    data = {"r:node": "all", "r:new": "attribute", "act": "add:r"}
    part = as_marketer.post("/segments/new/", data, headers={"HX-Request": "true"})
    assert part.headers["HX-Trigger-After-Settle"] == "builder-changed"
    assert 'name="r.0.field"' in part.content.decode()
    assert "<html" not in part.content.decode()
    assert 'name="r.0.field"' in as_marketer.post("/segments/new/", data).content.decode()  # without scripts

    rule = {
        "r:node": "all",
        "r.0:node": "leaf",
        "r.0:kind": "attribute",
        "r.0.field": "city",
        "r.0.op": "is",
        "r.0.value": "上海",
    }
    estimate = as_marketer.post("/segments/estimate/", rule).content.decode()
    assert ">2<" in estimate.replace(" ", "")
    assert "Ann" in estimate
    assert "1 without consent" in estimate
    assert not Segment.objects.exists()

    refused = as_marketer.post("/segments/new/", rule | {"name": "", "act": "save"})
    assert refused.status_code == 422
    assert "Give the segment a name" in refused.content.decode()
    saved = as_marketer.post("/segments/new/", rule | {"name": "上海人", "act": "save"})
    segment = Segment.objects.get()
    assert saved.url == f"/segments/{segment.pk}/"
    assert (segment.counted, segment.rule) == (
        2, {"all": [{"kind": "attribute", "field": "city", "op": "is", "value": "上海"}]},
    )  # fmt: skip
    page = as_marketer.get(saved.url).content.decode()
    assert "Ann" in page
    assert "Cid" not in page
    assert "Nobody in this segment" in as_marketer.get(f"{saved.url}?q=Cid").content.decode()
    assert "Bob" in as_marketer.get(f"{saved.url}?q=13912345678").content.decode()


@pytest.mark.django_db
def test_an_incomplete_rule_is_not_saved_and_says_where(as_marketer: Client) -> None:
    data = {"r:node": "all", "r.0:node": "leaf", "r.0:kind": "stage", "name": "x", "act": "save"}
    answer = as_marketer.post("/segments/new/", data)
    assert answer.status_code == 422
    assert "Mend what is marked below" in answer.content.decode()
    assert "Not complete yet" in as_marketer.post("/segments/estimate/", data).content.decode()
    assert not Segment.objects.exists()


@pytest.mark.django_db
def test_a_list_from_pasted_identities_tells_who_is_unknown(as_marketer: Client) -> None:
    load(
        "customers",
        "name,phone,email,member_number\nAnn,13812345678,,\nBob,,b@b.cn,\nCid,,,M7\nDan,13512345678,,\n",
    )
    dan = identity.resolve("phone", "", "13512345678")
    who = f"138 1234 5678\nB@b.cn, M7\n#{dan}\nnobody"
    answer = as_marketer.post("/segments/new-list/", {"name": "Guests", "who": who}, follow=True)
    segment = Segment.objects.get()
    assert (segment.rule, segment.counted) == (None, 4)
    assert "1 are not known and were left out: nobody" in answer.content.decode()
    more = as_marketer.post("/segments/new-list/", {"into": segment.pk, "who": "M7"}, follow=True)
    assert "0 people were put on the list" in more.content.decode()
    as_marketer.post(f"/segments/{segment.pk}/members/{dan}/remove/")
    segment.refresh_from_db()
    assert segment.counted == 3
    assert as_marketer.post("/segments/new-list/", {"name": "Guests", "who": "M7"}).status_code == 422


@pytest.mark.django_db
def test_a_list_from_a_file_goes_through_the_import(as_marketer: Client) -> None:
    load("customers", "name,phone\nAnn,13812345678\nBob,13912345678\n")
    from django.core.files.uploadedfile import SimpleUploadedFile

    file = SimpleUploadedFile("guests.csv", "手机\n13812345678\n13900000000\n".encode())
    url = as_marketer.post("/segments/new-list/", {"name": "Guests", "file": file}).url
    as_marketer.post(url, {"column-0": "phone"})
    jobs.run(ImportBatch.objects.order_by("-pk")[0].job_id)
    batch = ImportBatch.objects.order_by("-pk")[0]
    assert counts(batch) == (1, 0, 0, 1)
    segment = Segment.objects.get()
    assert (segment.name, segment.counted) == ("Guests", 1)
    rule = Segment.objects.create(name="By rule", rule={"all": [{"kind": "stage", "stages": ["member"]}]})
    assert counts(load("lists", "phone,list\n13812345678,By rule\n13912345678,Guests\n")) == (1, 0, 0, 1)
    assert not SegmentMember.objects.filter(segment=rule).exists()


@pytest.mark.django_db
def test_a_segment_is_frozen_archived_and_held_while_another_uses_it(as_marketer: Client) -> None:
    load("customers", "name,phone,stage\nAnn,13812345678,member\n")
    rule = {"all": [{"kind": "stage", "stages": ["member"]}]}
    members = segments_saved.save(Segment(), name="Members", description="", rule=rule)
    as_marketer.post(f"/segments/{members.pk}/freeze/", {"name": "Members of March"})
    frozen = Segment.objects.get(name="Members of March")
    Customer.objects.update(stage="advocate")
    assert segments_saved.count_again(members) == 0
    assert compiling.customers(frozen).count() == frozen.counted == 1
    segments_saved.save(
        Segment(), name="Others", description="", rule={"not": {"kind": "segment", "segment": members.pk}}
    )
    page = as_marketer.post(f"/segments/{members.pk}/archive/", follow=True).content.decode()
    assert "uses this one" in page
    as_marketer.post(f"/segments/{frozen.pk}/archive/")
    names = as_marketer.get("/segments/").content.decode()
    assert "Members of March" not in names
    assert "Members of March" in as_marketer.get("/segments/?archived=1").content.decode()


@pytest.mark.django_db
def test_reach_counts_each_person_once_by_what_is_missing() -> None:
    load(
        "customers",
        "name,phone,email,consent_sms,consent_email\nAnn,13812345678,,yes,yes\nBob,13912345678,b@b.cn,,yes\nCid,,c@b.cn,yes,yes\nDan,13512345678,,yes,\n",
    )
    consent.opt_out(
        identity.resolve("phone", "", "13512345678") or 0,
        "sms",
        default_brand().pk,
        "asked",
        "x",
        datetime.now(UTC),
    )
    told = segments_saved.estimate(compiling.people())
    assert (told.total, told.exact) == (4, True)
    rows = {str(row.label): (row.n, row.without_identity, row.without_consent) for row in told.rows}
    assert rows["SMS"] == (1, 1, 2)
    assert rows["Email"] == (2, 2, 0)
    assert rows["WeCom"] == (0, 4, 0)


@pytest.mark.django_db
def test_who_only_looks_is_offered_no_buttons(as_finance: Client) -> None:
    segment = Segment.objects.create(name="All", rule={"all": [{"kind": "stage", "stages": ["member"]}]})
    page = as_finance.get(f"/segments/{segment.pk}/").content.decode()
    assert "Change the rule" not in page
    assert as_finance.get("/segments/new/").status_code == 403
    assert as_finance.post(f"/segments/{segment.pk}/archive/").status_code == 403


@pytest.mark.django_db
def test_reach_is_told_for_the_channels_there_are_and_upload_is_a_purpose_of_its_own() -> None:
    from channels.models import Channel

    brand = default_brand()
    load(
        "customers",
        "name,phone,consent_sms,consent_upload\nAnn,13812345678,yes,no\nBob,13912345678,yes,yes\nCid,13712345678,,\n",
    )
    common = {"brand": brand, "adapter": "manual", "guarantee": "immediate"}
    for name, medium, observability in (
        ("SMS A", "sms", "person_observed"),
        ("SMS B", "sms", "person_observed"),
        ("Ads", "social", "person_targeted"),
        ("Posters", "other", "placement"),
    ):
        Channel.objects.create(
            name=name, medium=medium, observability=observability, domain="private", **common
        )
    told = {row.label: row.n for row in segments_saved.estimate(compiling.people()).rows}
    assert told == {"SMS A": 2, "SMS B": 2, "Ads": 1}
