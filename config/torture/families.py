"""A campaign over all four families: sent by real workers over far sides that fail, then read as its report.

Nothing waits for the clock: what was told to wait (a throttled channel, an audience that rests, a platform's day) is
due soon again. That is all this does to the tables; who sends what, and what is believed, is the workers' business.
"""

import datetime as dt
import json
import time
import urllib.request
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import connection
from django.utils import timezone

from campaigns.models import Campaign
from campaigns.retrying import steadily
from campaigns.vocabulary import CampaignState
from channels import flights
from channels.models import PlatformAudience, PlatformAudienceMember
from channels.sandbox.ad_platform import ZONE
from config.celery import app
from config.torture import families_count, families_scene
from config.torture.run import QUIET, REACHABLE, NotFinished, Torture, free_ports

FAULTS = {
    "throttle": 0.03, "refuse": 0.01, "silent": 0.01, "drop": 0.02, "drop_before": 0.01, "receipt_repeat": 0.05,
    "receipt_early": 0.05, "receipt_shuffle": True,
}  # fmt: skip
"""Five of a hundred messages or calls fail, three more are asked to come slower; receipts come twice or in disorder."""
TRIES = 12  # so often a touch is tried before its time; then it waits as it was told
UNTELLABLE = ("no identity", "identity_kind", "not_taken_here", "empty")
# What beat wakes seldom.
SELDOM = (
    "campaigns.tasks.steer", "channels.tasks.sync_audiences", "channels.tasks.set_flights", "campaigns.tasks.poll",
    "channels.tasks.sync_employees", "campaigns.tasks.follow_orders", "campaigns.tasks.sweep",
)  # fmt: skip
EVERY = 2.5  # seconds
SHOWING = 60.0  # seconds the platforms' reports may take to be what was shown
MIDNIGHT = dt.timedelta(
    seconds=2 * SHOWING + 30
)  # so long before it a platform's day has no room left to be shown in
TURN = "campaigns.tasks.turn_campaigns"
REPORTS = "channels.tasks.fetch_reports"

LATER = """
UPDATE campaigns_touch SET due_at = %(until)s WHERE state = 'planned' AND deferred = '' AND attempts = 0
"""
AGAIN = """
UPDATE campaigns_touch SET due_at = %(now)s
WHERE state = 'planned' AND due_at > %(now)s AND deferred NOT IN ('pressure', 'budget') AND attempts < %(tries)s
  AND id %% %(slices)s = ANY (%(open)s)
"""
FASTER = "UPDATE channels_channelthrottle SET backoff_until = %(now)s WHERE backoff_until > %(soon)s"
RESTED = """
UPDATE channels_platformaudiencemember SET lease_until = NULL WHERE wanted <> held AND lease_until IS NOT NULL
"""
TRIED = "UPDATE channels_platformaudience SET flight_tried_at = NULL WHERE flight_tried_at < %(before)s"
PUBLISHED = "UPDATE channels_platformaudience SET publish_after = %(now)s WHERE publish_after > %(soon)s"
OPEN = """
SELECT count(*) FILTER (WHERE t.state IN ('claimed', 'held')),
       count(*) FILTER (WHERE t.state = 'planned' AND t.due_at <= %(now)s AND t.deferred <> 'pressure'),
       count(*) FILTER (WHERE t.state = 'planned' AND t.attempts < %(tries)s AND t.deferred NOT IN ('pressure', 'budget')),
       count(*) FILTER (WHERE t.state = 'planned'),
       (SELECT count(*) FROM channels_inboxevent WHERE state = 'new'),
       (SELECT count(*) FROM campaigns_attempt WHERE state IN ('recorded', 'unknown')),
       (SELECT coalesce(max(version), 0) FROM channels_dailyreport)
FROM campaigns_touch t
"""


class Families(Torture):
    """Kills as :class:`Torture` does, if any are asked for."""

    scene: families_scene.Scene  # type: ignore[assignment]

    def _set_up(self) -> None:
        self.ports["google_ads_grpc"] = free_ports(1)[0]
        sandbox = self.folder / "sandbox"
        sandbox.mkdir(parents=True, exist_ok=True)
        self.scene = families_scene.build(self.customers, self.ports, sandbox, timezone.now())
        families_scene.settle_sandbox(self.scene, self.ports, sandbox, FAULTS)
        del self.ports["google_ads_grpc"]  # no side of its own
        self.opened: list[int] = []
        self.faults: dict[str, dict[str, int]] = {}
        self.platforms: dict[str, dict[str, Any]] = {}
        self._woken = self._looked = 0.0
        self._ended = False
        self._showing = True  # reports are asked for at once, so that their calls fail as well

    def _start(self) -> None:
        super()._start()
        self._wait_for_the_release()
        if self.kills:  # touches come due in slices, between which something is killed
            with connection.cursor() as cursor:
                cursor.execute(LATER, {"until": self.scene.campaign.ends_at})

    def _wait_for_the_release(self) -> None:
        deadline = time.monotonic() + REACHABLE
        while time.monotonic() < deadline:
            self.children.watch()
            if Campaign.objects.get(pk=self.scene.campaign.pk).state == CampaignState.RUNNING:
                return
            time.sleep(0.2)
        raise NotFinished("no worker released the campaign; see the log folder")

    # What waits, soon -------------------------------------------------------------------------------

    def _open_slice(self, number: int) -> None:
        self.opened.append(number)
        self._hurry()

    def _watch_until(self, true: Any, deadline: float) -> bool:
        def looked() -> bool:
            steadily(self._hurry, REACHABLE)
            return bool(true())

        return super()._watch_until(looked, deadline)

    def _hurry(self) -> None:
        if time.monotonic() - self._woken < EVERY:
            return
        self._woken, now = time.monotonic(), timezone.now()
        soon, before = now + dt.timedelta(seconds=1), now - dt.timedelta(seconds=2)
        params: dict[str, Any] = {
            "now": now, "soon": soon, "before": before, "tries": TRIES, "slices": self.kills + 1, "open": self.opened,
        }  # fmt: skip
        with connection.cursor() as cursor:
            for statement in (AGAIN, FASTER, RESTED, TRIED, PUBLISHED):
                cursor.execute(statement, params)
        names = [*SELDOM, *([REPORTS] if self._showing else []), *([TURN] if self._ended else [])]
        for name in names:
            app.send_task(name, expires=2 * EVERY)

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The sandbox's control door."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        data = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.ports['control']}{path}"
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"})  # noqa: S310
        with opener.open(request, timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    # The end ----------------------------------------------------------------------------------------

    def _wait_for_the_end(self, deadline: float) -> bool:
        """Messages and audiences first, then the platforms' day, then the flight's end."""
        self._showing = False
        if not self._watch_until(partial(self._is_quiet, rest=True), deadline):
            return False
        self._showing = True
        self._let_platforms_show(deadline)
        self._showing = False
        self.platforms = families_count.platforms(self.scene.campaign.pk, self.folder / "sandbox")
        steadily(self._end_flight, REACHABLE)
        self._ended = True
        done = self._watch_until(partial(self._is_quiet, rest=False), deadline)
        self.faults = self._ask("/")["faults"]
        return done

    def _is_quiet(self, *, rest: bool) -> bool:
        """Nothing has changed for a while. With ``rest`` what the contact policy holds may stay open; else nothing may,
        and no platform may hold anybody."""
        state = steadily(self._open, REACHABLE)
        if state != getattr(self, "_seen", None):
            self._seen, self._looked = state, time.monotonic()
        flying, due, able, planned, inbox, *_ = state
        differ = self._disagreeing() if rest else PlatformAudienceMember.objects.filter(held=True).count()
        over = not (flying or due or inbox or differ) and not (able if rest else planned)
        self.say(f"open: {state}, {differ} differ")
        return over and time.monotonic() - self._looked > QUIET

    def _open(self) -> tuple[int, ...]:
        with connection.cursor() as cursor:
            cursor.execute(OPEN, {"now": timezone.now(), "tries": TRIES})
            found: tuple[int, ...] = cursor.fetchone()
            return found

    def _disagreeing(self) -> int:
        """Members and flights of which platforms do not know yet what is wanted."""
        # Whoever's address fell away meanwhile stays wanted in vain.
        members = (
            PlatformAudienceMember.objects.exclude(wanted=True, held=True)
            .exclude(wanted=False, held=False)
            .exclude(error__in=UNTELLABLE)
        )
        audiences = PlatformAudience.objects.exclude(wanted_flight={})
        return members.count() + sum(not flights.settled(audience) for audience in audiences)

    def _let_platforms_show(self, deadline: float) -> None:
        """A day passes on the platforms where it does not pass by itself, in two parts; each is reported."""
        self._watch_until(_day_has_room, deadline)
        today = dt.datetime.now(ZONE).date()
        for share in (0.5, 1.0):
            for place in self.scene.places:
                audience = PlatformAudience.objects.filter(channel=self.scene.channels[place.adapter]).first()
                if audience is None or not audience.flight_reference or place.adapter == "meta":
                    continue
                if place.adapter == "baidu":
                    self._ask(
                        "/baidu/aim", {"campaign": audience.flight_reference, "group": audience.external_id}
                    )
                key = "id" if place.placement else "campaign"
                for day in (today - families_scene.DAY, today):
                    body = {key: audience.flight_reference, "day": day.isoformat(), "share": share}
                    self._ask(f"/{place.adapter}/deliver", body)
            until = time.monotonic() + SHOWING
            self._watch_until(self._have_reported, min(deadline, until))

    def _have_reported(self) -> bool:
        """Whether the newest reports of every platform are what it has shown by now."""
        told = families_count.platforms(self.scene.campaign.pk, self.folder / "sandbox")
        return all(platform["exposures"] == platform["shown"] for platform in told.values())

    def _end_flight(self) -> None:
        super()._end_flight()
        Campaign.objects.filter(pk=self.scene.campaign.pk).update(ends_at=timezone.now())

    def _count(self) -> dict[str, Any]:
        return families_count.count(
            self.scene, self.folder / "sandbox", self.faults, self.platforms, timezone.now()
        )


def _day_has_room() -> bool:
    """A day that ended between showing and asking would begin the platforms' figures anew."""
    now = dt.datetime.now(ZONE)
    return (now + MIDNIGHT).date() == now.date()
