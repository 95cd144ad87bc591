"""Customers: every column of a person, their identities, consents and tags."""

from collections.abc import Mapping

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds import permissions, persons
from audiences.imports.kinds.people import CUSTOMER_COLUMNS, IDENTITIES, claims
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind
from audiences.vocabulary import Medium, Purpose, Stage

UPLOADED_TO = (Medium.SEARCH, Medium.SOCIAL, Medium.VIDEO)
"""Media whose platforms are given lists of people: what ``consent_upload`` speaks of."""

FACE: Mapping[str, str] = {
    "name": "''",
    "gender": "''",
    "birth_date": "NULL::date",
    "birth_calendar": "'solar'",
    "language": "''",
    "zone": "%(zone)s",
    "country": "''",
    "province": "''",
    "city": "''",
    "stage": "'prospect'",
}
"""Columns of a customer, with what a newborn has when the file does not say."""

_CHINESE_MEDIA = {
    Medium.SMS: "短信",
    Medium.EMAIL: "邮件",
    Medium.WECOM: "企微",
    Medium.OFFICIAL_ACCOUNT: "公众号",
    Medium.APP_PUSH: "推送",
    Medium.CALL: "电话",
    Medium.MAIL: "信函",
}
_CONSENTS = tuple(
    ImportColumn(
        f"consent_{medium}",
        _("Consent: %(medium)s") % {"medium": medium.label},
        _("Yes or no. Empty says nothing."),
        kind="boolean",
        aliases=(
            f"{medium} consent",
            f"{medium} opt in",
            *((f"{name}授权", f"同意{name}") if (name := _CHINESE_MEDIA.get(medium)) else ()),
        ),
    )
    for medium in Medium
)

COLUMNS = (
    *CUSTOMER_COLUMNS,
    ImportColumn(
        "name",
        _("Name"),
        longest=200,
        aliases=("full name", "customer name", "姓名", "名字", "客户姓名", "昵称"),
    ),
    ImportColumn(
        "gender",
        _("Gender"),
        choices=("female", "male", "other"),
        synonyms={
            "f": "female",
            "m": "male",
            "女": "female",
            "男": "male",
            "woman": "female",
            "man": "male",
            "其他": "other",
        },
        aliases=("sex", "性别"),
    ),
    ImportColumn(
        "birth_date",
        _("Birth date"),
        kind="date",
        aliases=("birthday", "date of birth", "dob", "birth", "生日", "出生日期"),
    ),
    ImportColumn(
        "birth_calendar",
        _("Birth calendar"),
        choices=("solar", "lunar"),
        synonyms={"公历": "solar", "阳历": "solar", "农历": "lunar", "阴历": "lunar"},
        aliases=("生日历法",),
    ),
    ImportColumn("language", _("Language"), longest=16, aliases=("lang", "语言")),
    ImportColumn("zone", _("Time zone"), kind="zone", aliases=("timezone", "tz", "时区")),
    ImportColumn(
        "country", _("Country"), _("Two letters, such as CN."), longest=2, aliases=("country code", "国家")
    ),
    ImportColumn("province", _("Province"), longest=80, aliases=("state", "region", "省", "省份")),
    ImportColumn("city", _("City"), longest=80, aliases=("town", "城市", "市")),
    ImportColumn(
        "stage",
        _("Stage"),
        choices=tuple(Stage.values),
        synonyms={
            "粉丝": "prospect",
            "潜客": "prospect",
            "会员": "member",
            "客户": "customer",
            "顾客": "customer",
            "超级用户": "advocate",
            "kol": "advocate",
        },
        aliases=("lifecycle", "lifecycle stage", "阶段", "生命周期"),
    ),
    ImportColumn(
        "tags",
        _("Tags"),
        _("Several are separated by a comma, semicolon or bar."),
        longest=4000,
        aliases=("labels", "tag", "标签"),
    ),
    *_CONSENTS,
    ImportColumn(
        "consent_upload",
        _("Consent: upload to platforms"),
        kind="boolean",
        aliases=("upload consent", "平台上传授权"),
    ),
    ImportColumn(
        "consent_time",
        _("Time of consent"),
        kind="datetime",
        aliases=("consent date", "opt in time", "授权时间", "同意时间"),
    ),
    ImportColumn(
        "consent_source",
        _("Source of consent"),
        longest=120,
        aliases=("opt in source", "授权来源", "同意来源"),
    ),
)


def check(staged: Staged) -> None:
    named = [name for name in IDENTITIES if staged.has(name)] + ["customer_id"] * staged.has("customer_id")
    staged.refuse(
        "",
        _t("names nobody: give a phone, an e-mail, a member number or another identity"),
        " AND ".join(f"r.{name} IS NULL" for name in named) or "true",
    )
    if staged.has("customer_id"):
        staged.refuse(
            "customer_id",
            _t("there is no customer of this number"),
            "r.customer_id IS NOT NULL AND NOT EXISTS (SELECT FROM audiences_customer c WHERE c.id = r.customer_id)",
        )
    staged.take_out()
    claims(staged)
    if persons.own(staged):
        persons.refuse_placeholders(staged)
        if staged.options.get("merge") == "refuse":
            persons.refuse_several(staged)


def load(staged: Staged) -> dict[str, int]:
    """Find or bear the person of each row, then bring name, identities, consents and tags up to date."""
    tangled = persons.is_tangled(staged)
    if tangled and staged.execute(
        "DELETE FROM {work:claims} c WHERE EXISTS (SELECT FROM {bad} b WHERE b.line = c.line)"
    ):
        # Rows that tied others together were refused: who is who must be asked again.
        persons.disown(staged)
        tangled = persons.own(staged)
    several = persons.several(staged) if tangled else []
    persons.settle(staged, tangled)
    _said(staged)
    persons.lock(
        staged,
        [one for ids in several for one in ids] + permissions.weigh(staged) + persons.states_to_lock(staged),
    )
    staged.counts["merged"] = persons.merge_all(staged, several)
    if tangled:
        staged.table("faces", _united_faces(staged))
    zone = staged.options.get("zone") or settings.TIME_ZONE
    born = persons.bear(staged, _faces(staged, tangled), tangled, zone=zone)
    staged.execute(
        f"CREATE {staged.table_kind} TABLE {{work:changed}} AS SELECT customer_id FROM {{work:told}}"
    )
    _update(staged, tangled)
    persons.suppress_newcomers(staged)
    staged.counts["consents"] = permissions.write(staged)
    staged.execute("INSERT INTO {work:changed} SELECT customer_id FROM {work:consents}")
    _tags(staged)
    changed, same = staged.fetch(
        """SELECT count(*) FILTER (WHERE changed), count(*) FILTER (WHERE NOT changed) FROM (
            SELECT p.customer_id IN (SELECT customer_id FROM {work:changed}) AND NOT p.born AS changed
            FROM {work:persons} p WHERE NOT (p.born AND p.line = p.leader)
        ) p"""
    )[0]
    return {"new": born, "changed": changed, "same": same}


def _present(staged: Staged) -> list[str]:
    return [name for name in FACE if staged.has(name)]


def _faces(staged: Staged, tangled: bool) -> str:
    """What each newborn looks like: the file's columns over the defaults."""
    columns = ", ".join(
        f"coalesce(r.{name}, {default}) AS {name}" if staged.has(name) else f"{default} AS {name}"
        for name, default in FACE.items()
    )
    source = (
        "{work:faces} r WHERE r.born"
        if tangled
        else "{rows} r JOIN {work:persons} p USING (line) WHERE p.born"
    )
    who = "r" if tangled else "p"
    return (
        f"SELECT {who}.customer_id, {columns}, coalesce(r.extra, '{{}}'::jsonb) AS attributes FROM {source}"
    )


def _united_faces(staged: Staged) -> str:
    """One face a person: of several rows the last that says something, column by column."""
    last = ", ".join(
        f"(array_agg(r.{name} ORDER BY r.line DESC) FILTER (WHERE r.{name} IS NOT NULL))[1] AS {name}"
        for name in _present(staged)
    )
    plain = ", ".join(f"r.{name}" for name in _present(staged))
    comma = "," if last else ""
    return f"""
        SELECT p.customer_id, p.born, {plain}{comma} r.extra
        FROM {{rows}} r JOIN {{work:persons}} p USING (line)
        WHERE line NOT IN (SELECT line FROM {{work:tangle}})
        UNION ALL
        SELECT p.customer_id, p.born, {last}{comma} min(e.extra::text)::jsonb
        FROM {{rows}} r JOIN {{work:persons}} p USING (line) JOIN {{work:tangle}} t USING (line)
        LEFT JOIN (
            SELECT p.customer_id, jsonb_object_agg(a.key, a.value ORDER BY r.line) AS extra
            FROM {{rows}} r JOIN {{work:persons}} p USING (line) JOIN {{work:tangle}} t USING (line),
                jsonb_each(r.extra) a GROUP BY 1
        ) e ON e.customer_id = p.customer_id
        GROUP BY p.customer_id, p.born
    """


def _update(staged: Staged, tangled: bool) -> int:
    """Customers who existed get what the file says otherwise; an empty cell says nothing."""
    names = _present(staged)
    sets = ", ".join(f"{name} = coalesce(f.{name}, c.{name})" for name in names)
    differs = " OR ".join(f"f.{name} <> c.{name}" for name in names)
    columns = "".join(f", r.{name}" for name in names)
    faces = (
        "{work:faces}"
        if tangled
        else f"(SELECT p.customer_id, p.born{columns}, r.extra FROM {{rows}} r JOIN {{work:persons}} p USING (line))"
    )
    if "birth_date" in names:
        differs += " OR (f.birth_date IS NOT NULL AND c.birth_date IS NULL)"
    return staged.execute(
        f"""
        WITH changed AS (
            UPDATE audiences_customer c
            SET {sets}{"," if sets else ""} updated_at = %(now)s,
                attributes = CASE WHEN f.extra IS NULL THEN c.attributes ELSE c.attributes || f.extra END
            FROM {faces} f
            WHERE c.id = f.customer_id AND NOT f.born AND c.erased_at IS NULL
                AND ({differs}{" OR " if differs else ""} (f.extra IS NOT NULL AND NOT c.attributes @> f.extra))
            RETURNING c.id
        )
        INSERT INTO {{work:changed}} SELECT id FROM changed
        """
    )


def _said(staged: Staged) -> None:
    """``{work:said}``: every yes and no of the consent columns."""
    told = [
        f"('{medium}', '{purpose}', r.{column})"
        for column, media, purpose in (
            *((f"consent_{medium}", (medium,), Purpose.CONTACT) for medium in Medium.values),
            ("consent_upload", UPLOADED_TO, Purpose.UPLOAD),
        )
        if staged.has(column)
        for medium in media
    ] or ["('', '', NULL::boolean)"]
    staged.table(
        "said",
        f"""SELECT r.line, p.customer_id, %(brand)s::bigint AS brand_id, c.medium::varchar AS medium,
            c.purpose::varchar AS purpose, (CASE WHEN c.yes THEN 'granted' ELSE 'withdrawn' END)::varchar AS status,
            coalesce(r.consent_source, %(source)s)::varchar AS source, r.consent_time AS occurred_at
        FROM {{rows}} r JOIN {{work:persons}} p USING (line)
        CROSS JOIN LATERAL (VALUES {", ".join(told)}) AS c(medium, purpose, yes)
        WHERE c.yes IS NOT NULL""",
        source=f"import {staged.batch.pk}: {staged.batch.name}"[:120],
    )


def _tags(staged: Staged) -> int:
    """Tags are added, never taken away: a file says what it knows."""
    if not staged.has("tags"):
        return 0
    staged.table(
        "tagged",
        """SELECT DISTINCT p.customer_id, left(btrim(t.name), 80) AS name
        FROM {rows} r JOIN {work:persons} p USING (line),
            regexp_split_to_table(r.tags, '[,;|，；、]') AS t(name)
        WHERE btrim(t.name) <> ''""",
    )
    return put_tags(staged)


def put_tags(staged: Staged) -> int:
    """Put the tags of ``{work:tagged}`` (customer_id, name); who got one is added to ``{work:changed}``."""
    staged.execute(
        """INSERT INTO audiences_tag (name, "group") SELECT DISTINCT name, '' FROM {work:tagged} ORDER BY 1
        ON CONFLICT DO NOTHING"""
    )
    return staged.execute(
        """
        WITH put AS (
            INSERT INTO audiences_customertag (customer_id, tag_id, source, tagged_at)
            SELECT g.customer_id, t.id, %(source)s, %(now)s FROM {work:tagged} g JOIN audiences_tag t USING (name)
            WHERE NOT EXISTS (
                SELECT FROM audiences_customertag h WHERE h.tag_id = t.id AND h.customer_id = g.customer_id
            )
            ORDER BY 1, 2 ON CONFLICT DO NOTHING RETURNING customer_id
        )
        INSERT INTO {work:changed} SELECT customer_id FROM put
        """,
        source=f"import {staged.batch.pk}",
    )


# Taking a batch back -----------------------------------------------------------------------------------

OWN_TABLES = (
    "audiences_identity",
    "audiences_contactstate",
    "audiences_consent",
    "audiences_consentchange",
    "audiences_customertag",
    "audiences_score",
)
"""Rows that came with the customer and go with it."""

REFERRING = """
SELECT DISTINCT table_name, column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND column_name IN ('customer_id', 'absorbed_id', 'survivor_id', 'merged_into_id')
    AND table_name <> ALL (%(own)s)
    AND table_name NOT LIKE 'import\\_%%'
    AND table_name IN (SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition)
"""


def remove(batch_id: int) -> int:
    """Remove the customers this batch brought and nobody has used since; returns how many.

    Whoever has an identity from elsewhere, an order, a touch or any other row anywhere stays.
    """
    source = f"import {batch_id}"
    with connection.cursor() as cursor:
        cursor.execute(REFERRING, {"own": list(OWN_TABLES)})
        used = " ".join(
            f'AND NOT EXISTS (SELECT FROM "{table}" x WHERE x.{column} = c.id)'
            for table, column in cursor.fetchall()
        )
        cursor.execute(
            f"""
            SELECT c.id FROM audiences_customer c
            WHERE EXISTS (SELECT FROM audiences_identity i WHERE i.customer_id = c.id AND i.source = %(source)s)
                AND NOT EXISTS (SELECT FROM audiences_identity i WHERE i.customer_id = c.id AND i.source <> %(source)s)
                AND NOT EXISTS (
                    SELECT FROM audiences_customertag t WHERE t.customer_id = c.id AND t.source <> %(source)s
                )
                AND c.erased_at IS NULL AND c.merged_into_id IS NULL {used}
            ORDER BY c.id
            """,  # noqa: S608  (names of our own tables)
            {"source": source},
        )
        ids = [one for (one,) in cursor.fetchall()]
        cursor.execute(
            "SELECT 1 FROM audiences_contactstate WHERE customer_id = ANY (%s) ORDER BY customer_id FOR UPDATE",
            [ids],
        )
        # Consents first: their trigger writes to the contact state and to the history.
        for table in ("audiences_consent", *(name for name in OWN_TABLES if name != "audiences_consent")):
            cursor.execute(f"DELETE FROM {table} WHERE customer_id = ANY (%s)", [ids])  # noqa: S608
        cursor.execute("DELETE FROM audiences_customer WHERE id = ANY (%s)", [ids])
        return int(cursor.rowcount)


KIND: ImportKind = ImportKind(
    _("Customers"),
    COLUMNS,
    load,
    check=check,
    help=_(
        "People with their identities, consents and tags. Columns that are none of ours become attributes."
    ),
    remove=remove,
    takes_other_columns=True,
    url_name="audiences:customers",
)
