"""Wallet entries and balances from a file. Entries never change: a mistake is mended by an adjustment."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind
from channels.loads.naming import CHANNEL, resolve_channels
from channels.models import WalletEntry

KINDS = {
    "期初": "opening",
    "期初余额": "opening",
    "充值": "top_up",
    "现金充值": "top_up",
    "top-up": "top_up",
    "赠款": "bonus",
    "赠送": "bonus",
    "转入": "transfer_in",
    "消耗": "cash_consumption",
    "现金消耗": "cash_consumption",
    "赠款消耗": "bonus_consumption",
    "转出": "transfer_out",
    "退款": "refund",
    "调整": "adjustment",
}
DAY = ImportColumn("day", gettext_lazy("Day"), "", True, "date", aliases=("日期", "date"))
UNIT = ImportColumn(
    "unit",
    gettext_lazy("Unit"),
    gettext_lazy("A currency, or “messages” for a package. Empty: the channel's currency."),
    kind="identifier",
    longest=8,
    aliases=("单位", "币种", "currency"),
)

# Equal rows of one file without a reference are told apart by their order, so that the same file loads the same.
KEYED = """
SELECT told.line, told.channel_id, told.day, told.kind, told.unit, told.amount, told.expires_on,
       coalesce(told.reference, 'row:' || md5(concat_ws('|', told.day, told.kind, told.unit, told.amount, told.expires_on))
           || ':' || row_number() OVER (
               PARTITION BY told.channel_id, told.day, told.kind, told.unit, told.amount, told.expires_on, told.reference
               ORDER BY told.line
           )) AS source_key
FROM (
    SELECT r.line, r.channel_id, r.day, r.kind, coalesce(r.unit, channel.currency) AS unit, round(r.amount, 4) AS amount,
           r.expires_on, r.reference
    FROM {rows} r JOIN channels_channel channel ON channel.id = r.channel_id
) AS told
"""

INSERT = """
INSERT INTO channels_walletentry (channel_id, day, kind, unit, amount, expires_on, source, source_key, created_at)
SELECT channel_id, day, kind, unit, amount, expires_on, %(source)s, source_key, %(now)s FROM {work:keyed}
ORDER BY line
ON CONFLICT (channel_id, source_key) DO NOTHING
"""


def check_entries(staged: Staged) -> None:
    resolve_channels(staged)
    staged.refuse(
        "amount", _("less than 0; only an adjustment may be"), "r.amount < 0 AND r.kind <> 'adjustment'"
    )
    staged.refuse(
        "reference",
        _("stored before with other values; an entry never changes, add an adjustment"),
        "EXISTS (SELECT FROM channels_walletentry e JOIN channels_channel c ON c.id = e.channel_id "
        "WHERE e.channel_id = r.channel_id AND e.source_key = r.reference AND (e.day, e.kind, e.unit, e.amount) "
        "IS DISTINCT FROM (r.day, r.kind, coalesce(r.unit, c.currency), round(r.amount, 4)))",
    )
    staged.refuse(
        "reference",
        _("the same as an earlier row of this file"),
        "r.reference IS NOT NULL AND EXISTS (SELECT FROM {rows} o WHERE o.channel_id = r.channel_id "
        "AND o.reference = r.reference AND o.line < r.line)",
    )


def load_entries(staged: Staged) -> Mapping[str, int]:
    total = staged.table("keyed", KEYED)
    new = staged.execute(INSERT, source=f"file {staged.batch.name}"[:160])
    return {"new": new, "same": total - new}


def stored_entries(staged: Staged) -> Mapping[str, Any]:
    ((amount,),) = staged.fetch(
        "SELECT coalesce(sum(e.amount), 0) FROM {work:keyed} k JOIN channels_walletentry e USING (channel_id, source_key)"
    )
    return {"amount": amount}


WALLET = ImportKind(
    label=gettext_lazy("Wallet entries"),
    columns=(
        CHANNEL,
        DAY,
        ImportColumn(
            "kind",
            gettext_lazy("Kind"),
            "",
            True,
            choices=tuple(WalletEntry.Kind.values),
            synonyms=KINDS,
            aliases=("类型", "科目"),
        ),
        ImportColumn(
            "amount",
            gettext_lazy("Amount"),
            gettext_lazy("Positive; what kind it is tells the direction."),
            True,
            "decimal",
            aliases=("金额",),
        ),
        UNIT,
        ImportColumn("expires_on", gettext_lazy("Expires on"), kind="date", aliases=("到期日", "有效期至")),
        ImportColumn(
            "reference",
            gettext_lazy("Reference"),
            gettext_lazy("The platform's number of the movement."),
            kind="identifier",
            longest=160,
            aliases=("流水号", "单号"),
        ),
    ),
    load=load_entries,
    check=check_entries,
    stored=stored_entries,
    help=gettext_lazy(
        "Top-ups, bonuses, consumption, transfers and refunds of an account. Loading a file twice changes nothing."
    ),
    role="finance",
    sums=("amount",),
    url_name="channels:wallets",
)

INSERT_BALANCES = """
WITH told AS (
    SELECT DISTINCT ON (r.channel_id, r.day, coalesce(r.unit, channel.currency))
           r.channel_id, r.day, coalesce(r.unit, channel.currency) AS unit, round(r.balance, 4) AS balance
    FROM {rows} r JOIN channels_channel channel ON channel.id = r.channel_id
    ORDER BY r.channel_id, r.day, coalesce(r.unit, channel.currency), r.line DESC
)
INSERT INTO channels_walletstatement AS kept (channel_id, day, unit, balance, source, fetched_at)
SELECT channel_id, day, unit, balance, 'file', %(now)s FROM told
ON CONFLICT (channel_id, day, unit, source, version)
DO UPDATE SET balance = excluded.balance, fetched_at = excluded.fetched_at
WHERE kept.balance <> excluded.balance
RETURNING (xmax = 0)
"""


def load_balances(staged: Staged) -> Mapping[str, int]:
    """The balance of a day as last told; told otherwise it is replaced."""
    ((total,),) = staged.fetch("SELECT count(*) FROM {rows}")
    written = [new for (new,) in staged.fetch(INSERT_BALANCES)]
    return {"new": sum(written), "changed": len(written) - sum(written), "same": total - len(written)}


BALANCES = ImportKind(
    label=gettext_lazy("Wallet balances"),
    columns=(
        CHANNEL,
        DAY,
        ImportColumn(
            "balance",
            gettext_lazy("Balance"),
            gettext_lazy("At the end of the day."),
            True,
            "decimal",
            aliases=("余额", "账户余额", "期末余额"),
        ),
        UNIT,
    ),
    load=load_balances,
    check=resolve_channels,
    help=gettext_lazy("What the platform says is left at the end of a day; it is held against the entries."),
    role="finance",
    url_name="channels:wallets",
)
