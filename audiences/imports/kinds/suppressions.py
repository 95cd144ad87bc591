"""Addresses that must not be contacted, whoever they belong to now or later. Only their hashes are kept."""

from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds import persons
from audiences.imports.kinds.consents import MEDIA
from audiences.imports.kinds.people import IDENTITY_COLUMNS, claims
from audiences.imports.staging import Staged
from audiences.models import Brand
from audiences.queries import suppression as queries
from audiences.registers import ImportColumn, ImportKind
from audiences.suppression import pads
from audiences.vocabulary import Medium

COLUMNS = (
    *IDENTITY_COLUMNS,
    ImportColumn(
        "medium",
        _("Medium"),
        _("Empty: every medium."),
        choices=tuple(Medium.values),
        synonyms=MEDIA,
        aliases=("channel", "媒介", "渠道"),
    ),
    ImportColumn("brand_code", _("Brand"), _("Empty: every brand."), longest=32, aliases=("brand", "品牌")),
    ImportColumn("reason", _("Reason"), longest=120, aliases=("原因", "备注")),
)


def check(staged: Staged) -> None:
    known = ", ".join(Brand.objects.values_list("code", flat=True))
    staged.refuse(
        "brand_code",
        _t("no such brand; known: %(known)s") % {"known": known},
        "r.brand_code IS NOT NULL AND NOT EXISTS (SELECT FROM audiences_brand b WHERE b.code = r.brand_code)",
    )
    staged.take_out()
    claims(staged)
    staged.refuse(
        "",
        _t("names nobody: give a phone, an e-mail or another identity"),
        "NOT EXISTS (SELECT FROM {work:claims} c WHERE c.line = r.line)",
    )


def load(staged: Staged) -> dict[str, int]:
    """Every identity of a row goes on the list; the contact states of those who have one are blocked."""
    staged.table(
        "hashed",
        f"""SELECT i.line, i.kind, i.issuer, i.value, {queries.DIGEST.format(i="i")} AS digest
        FROM {{work:claims}} i JOIN {{rows}} r USING (line)""",
        index="",
        **pads(),
    )
    staged.table("new_lines", "SELECT NULL::text AS digest WHERE false")
    new = staged.execute(
        """
        WITH listed AS (
            INSERT INTO audiences_suppression (digest, kind, brand_id, medium, reason, created_at)
            SELECT DISTINCT ON (h.digest, b.id, coalesce(r.medium, ''))
                h.digest, h.kind, b.id, coalesce(r.medium, ''), coalesce(r.reason, %(reason)s), %(now)s
            FROM {work:hashed} h JOIN {rows} r USING (line) LEFT JOIN audiences_brand b ON b.code = r.brand_code
            ORDER BY 1, 3, 4, r.line ON CONFLICT DO NOTHING RETURNING digest
        )
        INSERT INTO {work:new_lines} SELECT digest FROM listed
        """,
        reason=f"import {staged.batch.pk}",
    )
    owners = [
        one
        for (one,) in staged.fetch(
            "SELECT DISTINCT i.customer_id FROM audiences_identity i JOIN {work:hashed} h USING (kind, issuer, value)"
        )
    ]
    persons.lock(staged, owners)
    staged.counts["blocked"] = queries.apply(owners, pads())
    staged.counts["listed"] = new
    lines, total = staged.fetch(
        """SELECT count(DISTINCT h.line) FILTER (WHERE h.digest IN (SELECT digest FROM {work:new_lines})),
            (SELECT count(*) FROM {rows}) FROM {work:hashed} h"""
    )[0]
    return {"new": lines, "changed": 0, "same": total - lines}


KIND: ImportKind = ImportKind(
    _("Do-not-contact list"),
    COLUMNS,
    load,
    check=check,
    help=_(
        "Addresses of people who must not be contacted. Only keyed hashes are stored; no load lifts them."
    ),
)
