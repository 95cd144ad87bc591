"""Columns that name a customer, and whom the rows of a load name.

Two uses: rows that tell of a customer known already (orders, events, touches…: :func:`resolve_customers`),
and rows that are customers (:mod:`audiences.imports.kinds.persons`).
"""

from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.staging import Staged
from audiences.models import Brand
from audiences.registers import ImportColumn

DEFAULT_SYSTEM = "main"
"""Issuer of an external id when neither the row nor the load names the system it comes from."""

IDENTITY_COLUMNS = (
    ImportColumn(
        "phone",
        _("Phone"),
        _("Any common writing; without a country it is a Chinese number."),
        kind="phone",
        aliases=(
            "mobile",
            "mobile phone",
            "tel",
            "telephone",
            "cell",
            "手机",
            "手机号",
            "手机号码",
            "电话",
            "电话号码",
            "联系电话",
        ),
    ),
    ImportColumn(
        "email",
        _("Email"),
        kind="email",
        aliases=("e-mail", "mail", "email address", "邮箱", "电子邮箱", "电子邮件"),
    ),
    ImportColumn(
        "member_number",
        _("Member number"),
        _("Of the brand of the load."),
        kind="identifier",
        aliases=(
            "member",
            "member no",
            "member id",
            "membership number",
            "card number",
            "会员号",
            "会员编号",
            "会员卡号",
            "卡号",
        ),
    ),
    ImportColumn(
        "external_id",
        _("External id"),
        _("The id another system gives the customer."),
        kind="identifier",
        aliases=(
            "customer key",
            "crm id",
            "user id",
            "household key",
            "客户编号",
            "客户id",
            "用户id",
            "外部id",
        ),
    ),
    ImportColumn(
        "external_system",
        _("External system"),
        _("The other system's name, when ids of several are mixed."),
        kind="identifier",
        longest=80,
        aliases=("system", "外部系统", "来源系统"),
    ),
    ImportColumn(
        "wecom_external_id",
        _("WeCom external id"),
        kind="identifier",
        aliases=("external_userid", "wecom id", "企业微信id", "企微外部联系人id", "企微id"),
    ),
    ImportColumn(
        "wecom_corp",
        _("WeCom corp id"),
        kind="identifier",
        longest=80,
        aliases=("corpid", "企业id", "企微企业id"),
    ),
    ImportColumn(
        "openid",
        _("OpenID"),
        _("Of an official account or a mini program."),
        kind="identifier",
        aliases=("公众号openid",),
    ),
    ImportColumn(
        "openid_app",
        _("App id of the OpenID"),
        kind="identifier",
        longest=80,
        aliases=("appid", "公众号appid"),
    ),
    ImportColumn("unionid", _("UnionID"), kind="identifier"),
    ImportColumn(
        "device", _("Device id"), kind="identifier", aliases=("device id", "idfa", "oaid", "设备号", "设备id")
    ),
    ImportColumn(
        "device_kind", _("Kind of device id"), kind="identifier", longest=80, aliases=("设备号类型",)
    ),
    ImportColumn(
        "postal", _("Postal address key"), kind="identifier", aliases=("address", "地址", "邮寄地址")
    ),
)
CUSTOMER_COLUMNS = (
    *IDENTITY_COLUMNS,
    ImportColumn(
        "customer_id",
        _("Customer"),
        _("Our own number of the customer."),
        kind="integer",
        aliases=("evenreach id",),
    ),
)
"""What a row that names a customer may bring; one of them suffices."""

# Of several identities in a row that name different people the first of these wins.
_CLAIMS = {
    "member_number": "(1, 'member_number', %(brand_code)s, r.member_number)",
    "external_id": "(2, 'external', coalesce(r.external_system, %(system)s), r.external_id)",
    "unionid": "(3, 'unionid', '', r.unionid)",
    "wecom_external_id": "(4, 'wecom_external_id', coalesce(r.wecom_corp, %(corp)s), r.wecom_external_id)",
    "openid": "(5, 'openid', coalesce(r.openid_app, %(app)s), r.openid)",
    "phone": "(6, 'phone', '', r.phone)",
    "email": "(7, 'email', '', r.email)",
    "device": "(8, 'device', coalesce(lower(r.device_kind), ''), lower(r.device))",
    "postal": "(9, 'postal', '', r.postal)",
}
IDENTITIES = tuple(_CLAIMS)
"""The columns that hold an identity's value."""


def claims(staged: Staged) -> int:
    """Make ``{work:claims}``: line, priority, kind, issuer and value of every identity in ``{rows}``."""
    if staged.attempt > 1:
        # Somebody told of the same people while the first try was under way: readers go on, writers wait.
        staged.execute("LOCK TABLE audiences_identity IN SHARE ROW EXCLUSIVE MODE")
    wanted = [sql for column, sql in _CLAIMS.items() if staged.has(column)]
    if not wanted:
        wanted = ["(0, '', '', NULL::text)"]
    return staged.table(
        "claims",
        f"""SELECT r.line, c.priority::smallint, c.kind, c.issuer, c.value
        FROM {{rows}} r CROSS JOIN LATERAL (VALUES {", ".join(wanted)}) AS c(priority, kind, issuer, value)
        WHERE c.value IS NOT NULL""",
        brand_code=Brand.objects.values_list("code", flat=True).get(pk=staged.brand_id),
        system=staged.options.get("system") or DEFAULT_SYSTEM,
        corp=staged.options.get("wecom_corp") or "",
        app=staged.options.get("openid_app") or "",
    )


def resolve_customers(staged: Staged, *, required: bool = True) -> int:
    """Give every row of ``{rows}`` a ``customer_id`` of ours; returns how many rows have one.

    Always the survivor. Rows of nobody are refused, unless ``required`` is False: then ``customer_id`` is
    NULL. With the load's option ``create`` a customer is born for identities nobody has.
    """
    from audiences.imports.kinds import persons  # it needs claims

    claims(staged)
    own = staged.has("customer_id")
    direct = """
        UNION ALL SELECT r.line, 0::smallint, coalesce(c.merged_into_id, c.id)
        FROM {rows} r JOIN audiences_customer c ON c.id = r.customer_id
    """
    staged.table(
        "named",
        f"""SELECT DISTINCT ON (line) line, customer_id FROM (
            SELECT c.line, c.priority, i.customer_id FROM {{work:claims}} c
            JOIN audiences_identity i USING (kind, issuer, value)
            {direct if own else ""}
        ) n ORDER BY line, priority""",
    )
    if staged.options.get("create"):
        staged.counts["customers_created"] = persons.bear_unknown(staged)
    columns = ", ".join(f"r.{column.name}" for column in staged.kind.columns if column.name != "customer_id")
    extra = ", r.extra" if staged.kind.takes_other_columns else ""
    given = [f"r.{name} IS NOT NULL" for name in (*_CLAIMS, "customer_id") if staged.has(name)]
    staged.execute(
        f"""CREATE {staged.table_kind} TABLE {{work:resolved}} AS
        SELECT r.line, {columns}{extra}, r.broken, n.customer_id,
            ({" OR ".join(given) or "false"}) AS names_somebody
        FROM {{rows}} r LEFT JOIN {{work:named}} n USING (line)"""
    )
    staged.execute("DROP TABLE {rows}")
    staged.execute("ALTER TABLE {work:resolved} RENAME TO " + staged.rows)
    staged.execute("ANALYZE {rows}")
    if required:
        first = next((column for column in [*_CLAIMS, "customer_id"] if staged.has(column)), "")
        staged.refuse(
            first,
            _t("nobody has any of the identities of this row; load the customers first"),
            "r.customer_id IS NULL AND r.names_somebody",
        )
        staged.refuse(first, _t("names no customer"), "r.customer_id IS NULL AND NOT r.names_somebody")
    return int(staged.fetch("SELECT count(customer_id) FROM {rows}")[0][0])
