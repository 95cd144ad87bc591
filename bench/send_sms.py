"""Text messages end to end over SMPP: claimed with all checks, handed over, recorded; beside a bare client loop.

Both have as many sessions, and the same window shared by them, to the same SMSC, which runs in a process of its own,
writes every message to its disk and waits before each answer. The floor is smpplib alone: it sends PDUs and reads
answers, and knows no people. What was sent is counted from the SMSC's log.
"""

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench._workers import timed
from bench.dispatch import APPROVED, KEY, MEMBERS, PARTITIONS, PEOPLE, STATES, TARGETS, TOUCHES

IDENTITIES = """
INSERT INTO audiences_identity (customer_id, kind, issuer, value, source, invalid_reason, created_at)
SELECT id, 'phone', '', '+86138' || lpad(id::text, 8, '0'), '', '', now() FROM audiences_customer
"""
TEXT = "您好{{name|朋友}}，双十一会员专享满300减50，到店出示本短信即可。拒收请回复R"
SIGNATURE = "品牌"
SYSTEM_ID, PASSWORD, SOURCE, REFERENCE = "evenreach", "sandbox", "10690000", 0x1401
ROUNDS = 3


def run(
    *, messages: int = 30_000, window: int = 100, milliseconds: float = 10.0, workers: int = 2
) -> dict[str, Any]:
    """``messages`` of one part by ``workers`` sessions that share a window of ``window``, answers after ``milliseconds``.

    Both ways take turns, ``ROUNDS`` times; the figures are those of the middle round by ratio.
    """
    rounds = []
    with (
        tempfile.TemporaryDirectory(prefix="evenreach-smsc-") as folder,
        smsc(Path(folder), milliseconds) as port,
    ):
        n = max(1, messages // ROUNDS)
        people(n)
        for number in range(ROUNDS):
            each_window = max(1, window // workers)
            channel = scene(n, number, port, each_window)
            seconds, sent, _cpu = timed(product, workers, channel)
            floor_seconds, taken, _cpu = timed(floor, workers, port, each_window, n // workers)
            if sum(sent) != n or sum(taken) != n // workers * workers:
                raise RuntimeError(
                    f"{n} messages were due; {sum(sent)} were sent, the floor sent {sum(taken)}"
                )
            rounds.append((seconds / n, floor_seconds / sum(taken)))
        count(Path(folder), n * ROUNDS)
    each, floor_each = sorted(rounds, key=lambda pair: pair[1] / pair[0])[len(rounds) // 2]
    return {
        "n": n * ROUNDS,
        "window": window,
        "workers": workers,
        "seconds": round(each * n * ROUNDS, 2),
        "rate": round(1 / each),
        "floor_rate": round(1 / floor_each),
        "ratio": round(floor_each / each, 3),
        "ratios": [round(theirs / ours, 3) for ours, theirs in rounds],
    }


@contextmanager
def smsc(folder: Path, milliseconds: float) -> Iterator[int]:
    """An SMSC in a process of its own; its port."""
    config = {
        "smpp": {"answer_seconds": milliseconds / 1000, "receipt_seconds": 3600.0, "reference_tlv": REFERENCE}
    }
    (folder / "config.json").write_text(json.dumps(config))
    program = subprocess.Popen(
        [sys.executable, "-m", "channels.sandbox", "--dir", str(folder), "--ports", "0"], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert program.stdout is not None
        if not program.stdout.readline():
            raise RuntimeError("the SMSC did not begin")
        yield json.loads((folder / "ports.json").read_text())["smpp"]
    finally:
        program.terminate()
        program.wait(10)


def people(n: int) -> None:
    """Everybody with a number, some consent, and contacts of the days before."""
    from django.db import connection
    from django.utils import timezone

    from audiences.models import Brand
    from campaigns.models import PressureRule

    brand = Brand.objects.get_or_create(code="main", defaults={"name": "Main"})[0]
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE, {"people": n, "zones": about_noon(now.hour)})
        cursor.execute(IDENTITIES)
        cursor.execute(
            STATES, {"keys": [f"contact:{brand.pk}:{medium}" for medium in ("email", "sms", "wecom")]}
        )
    for touches, hours, medium in ((12, 24, ""), (20, 168, ""), (10, 72, "sms")):
        PressureRule.objects.create(
            name=f"{touches} in {hours} h", touches=touches, hours=hours, medium=medium, in_force_at=now
        )


def about_noon(hour: int) -> list[str]:
    """Three zones in which no quiet hours hold now, whenever it is measured."""
    return [f"Etc/GMT{hour - noon:+d}" for noon in (12, 13, 14)]


def scene(n: int, number: int, port: int, window: int) -> int:
    """A channel with a running campaign and ``n`` due touches, in partitions as a large release leaves them."""
    from django.db import connection
    from django.utils import timezone

    from audiences.models import Brand
    from campaigns.models import (
        Budget,
        Campaign,
        ChannelPlan,
        FrequencyTarget,
        Message,
        MessageVariant,
        MessageVersion,
        Phase,
        Round,
    )
    from channels.accounts import save_channel
    from channels.models import Channel

    now = timezone.now()
    brand = Brand.objects.get(code="main")
    told = {
        "host": "127.0.0.1", "port": port, "system_id": SYSTEM_ID, "source": SOURCE, "window": window,
        "reference_tlv": hex(REFERENCE), "signature": SIGNATURE,
    }  # fmt: skip
    channel = save_channel(
        Channel(
            brand=brand, name=f"smsc {number}", medium="sms", adapter="smpp", unit_price=Decimal("0.05"),
            settings=told, credentials={"password": PASSWORD},
        )
    )  # fmt: skip
    message = Message.objects.create(brand=brand, medium="sms", name=f"bench {number}")
    version = MessageVersion.objects.create(message=message, number=1)
    MessageVariant.objects.create(version=version, number=1, text=TEXT)
    campaign = Campaign.objects.create(
        brand=brand, name="bench", state="running", starts_at=now - dt.timedelta(days=1), ends_at=now + dt.timedelta(days=20)
    )  # fmt: skip
    phase = Phase.objects.create(
        campaign=campaign, position=0, name="All", starts_at=campaign.starts_at, ends_at=campaign.ends_at
    )
    Round.objects.create(campaign=campaign, number=1, phase=phase)
    plan = ChannelPlan.objects.create(
        campaign=campaign, channel=channel, day_parts=[{"from": "00:00", "to": "24:00"}]
    )
    FrequencyTarget.objects.create(channel_plan=plan, phase=phase, stage="customer", touches=1)
    for one in (None, channel):
        Budget.objects.create(campaign=campaign, channel=one, currency="CNY", amount=n)
    with connection.cursor() as cursor:
        for table in ("campaigns_member", "campaigns_member_target", "campaigns_touch", "campaigns_attempt"):
            cursor.execute(PARTITIONS.format(table=table, campaign=campaign.pk))
        cursor.execute(KEY.format(campaign=campaign.pk))
        params = {"campaign": campaign.pk, "channel": channel.pk, "version": version.pk}
        for statement in (APPROVED, MEMBERS, TARGETS, TOUCHES):
            cursor.execute(statement, params)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    return channel.pk


def product(channel: int) -> int:
    """Claim, call and record until nothing is due; how many the SMSC took."""
    from campaigns import dispatch
    from channels.accounts import release_adapters

    sent = 0
    while True:
        done = dispatch.dispatch_channel(channel)
        sent += done.accepted
        if not done.claimed:
            release_adapters()
            return sent


def floor(port: int, window: int, n: int) -> int:
    """smpplib alone, with a window around it: the same octets, no people, nothing kept."""
    from smpplib import consts
    from smpplib.client import Client

    client = Client("127.0.0.1", port, allow_unknown_opt_params=True, logger_name="smpplib.floor")
    client.logger.setLevel("WARNING")
    client.connect()
    client.bind_transmitter(system_id=SYSTEM_ID, password=PASSWORD)
    words = f"【{SIGNATURE}】{TEXT}".replace("{{name|朋友}}", "Customer 1234567")
    text = words.encode("utf-16-be")
    begun = answered = 0
    while answered < n:
        while begun < n and begun - answered < window:
            client.send_message(
                source_addr_ton=3, source_addr_npi=0, source_addr=SOURCE, dest_addr_ton=1, dest_addr_npi=1,
                destination_addr=f"86138{begun:08d}", data_coding=8, registered_delivery=1, short_message=text,
            )  # fmt: skip
            begun += 1
        answer = client.read_pdu()
        if answer.command == "submit_sm_resp":
            if answer.status != consts.SMPP_ESME_ROK:
                raise RuntimeError(f"the SMSC answered {answer.status:#04x}")
            answered += 1
    client.unbind()
    client.disconnect()
    return answered


def count(folder: Path, wanted: int) -> None:
    """The SMSC's own word: every attempt of ours was taken exactly once."""
    from channels.sandbox.log import read_log

    time.sleep(0.3)  # the log is flushed with the answers; the program still runs
    taken = Counter(
        line["attempt"]
        for line in read_log(folder, "smpp")
        if line.get("verdict") == "accepted" and line["attempt"]
    )
    if len(taken) != wanted or set(taken.values()) != {1}:
        raise RuntimeError(
            f"the SMSC took {len(taken)} attempts of {wanted}, some {max(taken.values())} times"
        )
