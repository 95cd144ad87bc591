"""Consents and withdrawals, one a row, with source and time."""

from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds import permissions, persons
from audiences.imports.kinds.people import CUSTOMER_COLUMNS, resolve_customers
from audiences.imports.staging import Staged
from audiences.models import Brand
from audiences.registers import ImportColumn, ImportKind
from audiences.vocabulary import Medium, Purpose

MEDIA = {
    "短信": "sms",
    "邮件": "email",
    "企微": "wecom",
    "企业微信": "wecom",
    "公众号": "official_account",
    "推送": "app_push",
    "电话": "call",
    "信函": "mail",
}

COLUMNS = (
    *CUSTOMER_COLUMNS,
    ImportColumn(
        "medium",
        _("Medium"),
        required=True,
        choices=tuple(Medium.values),
        synonyms=MEDIA,
        aliases=("channel", "媒介", "渠道"),
    ),
    ImportColumn(
        "granted",
        _("Granted"),
        _("Yes: permitted. No: withdrawn."),
        kind="boolean",
        required=True,
        aliases=("consent", "status", "opt in", "授权", "是否同意", "同意"),
    ),
    ImportColumn("purpose", _("Purpose"), choices=tuple(Purpose.values), aliases=("用途",)),
    ImportColumn("brand_code", _("Brand"), longest=32, aliases=("brand", "品牌")),
    ImportColumn(
        "occurred_at",
        _("Time"),
        kind="datetime",
        aliases=("consent time", "date", "time", "授权时间", "时间"),
    ),
    ImportColumn("consent_source", _("Source"), longest=120, aliases=("source", "来源", "授权来源")),
)


def check(staged: Staged) -> None:
    known = ", ".join(Brand.objects.values_list("code", flat=True))
    staged.refuse(
        "brand_code",
        _t("no such brand; known: %(known)s") % {"known": known},
        "r.brand_code IS NOT NULL AND NOT EXISTS (SELECT FROM audiences_brand b WHERE b.code = r.brand_code)",
    )
    staged.take_out()
    resolve_customers(staged)


def load(staged: Staged) -> dict[str, int]:
    staged.table(
        "said",
        """SELECT r.line, r.customer_id, coalesce(b.id, %(brand)s) AS brand_id, r.medium::varchar AS medium,
            coalesce(r.purpose, 'contact')::varchar AS purpose,
            (CASE WHEN r.granted THEN 'granted' ELSE 'withdrawn' END)::varchar AS status,
            coalesce(r.consent_source, %(source)s)::varchar AS source, r.occurred_at
        FROM {rows} r LEFT JOIN audiences_brand b ON b.code = r.brand_code""",
        source=f"import {staged.batch.pk}: {staged.batch.name}"[:120],
    )
    persons.lock(staged, permissions.weigh(staged))
    staged.execute(
        """DELETE FROM {work:consents} s WHERE NOT EXISTS (
            SELECT FROM audiences_contactstate a WHERE a.customer_id = s.customer_id AND NOT a.erased)"""
    )
    first = int(
        staged.fetch(
            f"""SELECT count(*) FROM {{work:consents}} s
            WHERE NOT EXISTS (SELECT FROM audiences_consent c WHERE {permissions.SAME})"""
        )[0][0]
    )
    written = permissions.write(staged)
    # A grant the suppression list forbids is no new row after all.
    new = min(first, written)
    total = int(staged.fetch("SELECT count(*) FROM {rows}")[0][0])
    return {"new": new, "changed": written - new, "same": total - written}


KIND: ImportKind = ImportKind(
    _("Consents"),
    COLUMNS,
    load,
    check=check,
    help=_(
        "What customers permit. An older event never overrides a newer one, and no file lifts an opt-out."
    ),
)
