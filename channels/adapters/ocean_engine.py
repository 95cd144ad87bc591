"""Ocean Engine (Douyin, Toutiao): audiences as a data source of hashes, the flight of a project, totals a day.

What is uploaded is kept in the data source at once, but shown to nobody before the audience is *published*, and that
the platform does once in 24 hours. There is no frequency cap. Money is in yuan. Every verb says what should be so.
"""

import base64
import datetime as dt
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import IdentityKind, Medium
from channels.adapters._flights import BY_AUDIENCE, daily, in_all, switched
from channels.adapters._oauth import (
    SECRETS,
    WAIT_MINUTES,
    OAuthAdapter,
    money,
    reaching,
    sha256,
    whole,
)
from channels.adapters._people import Form, customers_of, hashed, mainland_number, people_of
from channels.adapters.base import (
    NOT_FOUND,
    AdapterError,
    AudienceChange,
    AudienceResult,
    Balance,
    Checked,
    Credentials,
    Flight,
    ReportRow,
    Setting,
)
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel

ZONE = ZoneInfo("Asia/Shanghai")
MOST_BYTES = 50 * 1024 * 1024  # of a zip
MOST_A_LINE = 10_000  # ids in one line of a file
MOBILE_SHA256 = 6  # the platform's number of the kind
FORMS: dict[str, Form] = {IdentityKind.PHONE: hashed(mainland_number)}
ADD, REMOVE = 1, 2
PUBLISH_EVERY = dt.timedelta(hours=24)
LOOK_AGAIN = 60.0  # seconds, while the platform still works an upload off
OVER = {40102, 40104, 40105, 40103, 40107}  # access token over, missing, wrong; refresh token over, wrong
RETRY = {40100: 10.0, 40110: WAIT_MINUTES, 50000: 10.0}
STOPS = (40002, 40101, 40106, 40108)
METRICS = ["stat_cost", "show_cnt", "click_cnt", "convert_cnt"]
DAY, PROJECT = "stat_time_day", "cdp_project_id"


class Adapter(OAuthAdapter):
    name = "ocean_engine"
    label = gettext_lazy("Ocean Engine (Douyin, Toutiao)")
    platform = "Ocean Engine"
    address = "https://ad.oceanengine.com"
    media: ClassVar[tuple[str, ...]] = (Medium.VIDEO, Medium.SOCIAL)
    domain = Domain.PUBLIC
    guarantee = Guarantee.AGGREGATE
    observability = Observability.PERSON_TARGETED
    price_model = PriceModel.CPM
    address_kinds: ClassVar[tuple[str, ...]] = (IdentityKind.PHONE,)
    batch_size = 10_000
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("account_id", gettext_lazy("Ad account"), gettext_lazy("The number of the advertiser.")),
        Setting("app_id", gettext_lazy("App id")),
        *SECRETS,
        Setting(
            "push_to",
            gettext_lazy("Also for these ad accounts"),
            gettext_lazy("Numbers of advertisers that may use the audiences, separated by spaces."),
            required=False,
        ),
        *reaching(address),
    )

    # Audiences ------------------------------------------------------------------------------------

    def sync_audience(
        self, external_id: str, name: str, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
    ) -> AudienceResult:
        """Put people into the data source and take people out; confirmed are those it took. They take force by
        :meth:`publish_audience`.

        What an earlier upload did is told even when a later one fails. Raises :class:`AdapterError` when nothing
        was done.
        """
        source = external_id or self._source_named(_source_name(name))
        done: list[int] = []
        failed: dict[int, str] = {}
        size: int | None = None
        try:
            for operation, changes in ((REMOVE, remove), (ADD, add)):
                if operation == REMOVE and not source:
                    continue  # nobody can be in what is not there
                if people := people_of(changes, FORMS, failed):
                    source = self._change(source, name, operation, [person.value for person in people])
                    done += customers_of(people)
            if source:
                size = whole((self._source(source).get("default_audience") or {}).get("cover_num"))
        except AdapterError:
            if not done:
                raise
        return AudienceResult(source, done, failed, size)

    def _source_named(self, name: str) -> str:
        """A data source made before whose answer was lost: its audience has its name. "" for none."""
        offset = 0
        while True:
            answer = self._get(
                "2/dmp/custom_audience/select/",
                {"select_type": "0", "offset": str(offset), "limit": "100"},
            )
            rows = answer.get("custom_audience_list") or ()
            for told in rows:
                if told.get("name") == name and told.get("data_source_id"):
                    return str(told["data_source_id"])
            offset += len(rows)
            if not rows or offset >= int(answer.get("total_num") or 0):
                return ""

    def _change(self, source: str, name: str, operation: int, hashes: Sequence[str]) -> str:
        """Upload hashes and let the data source take them in or out; makes it where there is none."""
        files = [self._upload(packed) for packed in _packed(hashes)]
        given: dict[str, Any] = {"data_format": 0, "file_storage_type": 0, "file_paths": files}
        if source:
            self._post(
                "2/dmp/data_source/update/",
                {"data_source_id": source, "operation_type": operation, **given},
            )
            return source
        made = self._post(
            "2/dmp/data_source/create/",
            {
                "data_source_name": _source_name(name), "description": "Evenreach", "data_source_type": "UID",
                **given,
            },
        )  # fmt: skip
        return str(made["data_source_id"])

    def _upload(self, packed: bytes) -> str:
        digest = hashlib.md5(packed, usedforsecurity=False).hexdigest()
        told = self.call(
            "POST", "/open_api/2/dmp/data_source/file/upload/",
            data={"advertiser_id": self._account_id, "file_signature": digest},
            files={"file": (f"{digest}.zip", packed, "application/zip")},
        )  # fmt: skip
        return str(told["file_path"])

    def _source(self, source: str) -> dict[str, Any]:
        told = self._get("2/dmp/data_source/read/", {"data_source_id_list": json.dumps([source])})
        found = told.get("data_list") or ()
        if not found:
            raise AdapterError(_("Ocean Engine has no data source %s.") % source, code="reference")
        return dict(found[0])

    def publish_audience(self, external_id: str) -> float:
        """Publish what the data source took since the last time, unless that was less than 24 hours ago; then push.

        Returns seconds until there is more to do. Raises :class:`AdapterError`.
        """
        source = self._source(external_id)
        audience = source.get("default_audience") or {}
        waiting = [log for log in source.get("change_logs") or () if not log.get("publish_time")]
        if not waiting:
            return 0.0
        if not audience.get("custom_audience_id") or any(
            str(log.get("status")) in {"0", "1"} for log in waiting
        ):
            return LOOK_AGAIN
        last = _moment(source.get("latest_published_time"))
        if last is not None:
            left = (last + PUBLISH_EVERY - dt.datetime.now(ZONE)).total_seconds()
            if left > 0:
                return left
        number = int(audience["custom_audience_id"])
        self._post("2/dmp/custom_audience/publish/", {"custom_audience_id": number})
        targets = [int(text) for text in str(self.account.settings.get("push_to") or "").split()]
        for start in range(0, len(targets), 100):
            self._post(
                "2/dmp/custom_audience/push_v2/",
                {"custom_audience_id": number, "target_advertiser_ids": targets[start : start + 100]},
            )
        return 0.0

    # Flight ---------------------------------------------------------------------------------------

    def set_flight(self, flight: Flight) -> Flight:
        """Daily budget and dates of a project; only what differs is sent. There is no frequency cap, so none is told
        back. ``audience:<data source>`` is the project aimed at its audience. Raises :class:`AdapterError`."""
        known = self._project(flight.reference or self.wanted_reference(flight, _("project")))
        project = int(known["project_id"])
        wanted = {
            "schedule_type": "SCHEDULE_START_END", "start_time": flight.starts_on.isoformat(),
            "end_time": flight.ends_on.isoformat(), "budget_mode": "BUDGET_MODE_DAY",
            "budget": float(daily(flight)),
        }  # fmt: skip
        setting = known.get("delivery_setting") or {}
        if any(not _same(name, setting.get(name), value) for name, value in wanted.items()):
            self._post("v3.0/project/update/", {"project_id": project, "delivery_setting": wanted})
            setting = self._project_by_id(str(project)).get("delivery_setting") or {}
        return Flight(
            reference=str(project),
            budget=in_all(money(setting.get("budget")).quantize(Decimal("0.01")), flight),
            starts_on=dt.date.fromisoformat(str(setting["start_time"])[:10]),
            ends_on=dt.date.fromisoformat(str(setting["end_time"])[:10]),
        )

    def pause_flight(self, reference: str, paused: bool | None) -> bool:
        """The project's own switch. Raises :class:`AdapterError`."""
        project = int(self._project(reference)["project_id"])
        return switched(
            paused,
            lambda: self._project_by_id(str(project)).get("opt_status") != "ENABLE",
            lambda wanted: self._switch(project, wanted),
        )

    def _switch(self, project: int, paused: bool) -> None:
        """A batch of one; a batch is taken although its members fail, so they are looked at."""
        change = {"project_id": project, "opt_status": "DISABLE" if paused else "ENABLE"}
        told = self._post("v3.0/project/status/update/", {"data": [change]})
        for one in told.get("errors") or ():
            raise AdapterError(
                _("%(platform)s says: %(text)s")
                % {"platform": self.platform, "text": str(one.get("error_message") or one)[:300]},
                code=str(one.get("error_code") or "errors"),
            )

    def _project(self, reference: str) -> dict[str, Any]:
        """A project by its number, or the one aimed at an audience. Raises :class:`AdapterError`."""
        if not reference.startswith(BY_AUDIENCE):
            return self._project_by_id(reference)
        source = reference.removeprefix(BY_AUDIENCE)
        audience = str((self._source(source).get("default_audience") or {}).get("custom_audience_id") or "")
        aimed = [told for told in self._projects({}) if audience and audience in _aimed_at(told)]
        if len(aimed) == 1:
            return aimed[0]
        text = (
            _("Several projects are aimed at audience %(id)s: write the id of one on its page.")
            if aimed
            else _("No project is aimed at audience %(id)s yet: choose it in a project's targeting.")
        )
        raise AdapterError(text % {"id": audience or source}, code="reference" if aimed else NOT_FOUND)

    def _project_by_id(self, project: str) -> dict[str, Any]:
        if project.isdecimal():
            for told in self._projects({"ids": [int(project)]}):
                return told
        raise AdapterError(_("Ocean Engine has no project %s.") % project, code=NOT_FOUND)

    def _projects(self, filtering: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        given = {"filtering": json.dumps(filtering)} if filtering else {}
        return self._pages("v3.0/project/list/", given, "list", 10)

    # Reports --------------------------------------------------------------------------------------

    def fetch_report(self, day: dt.date) -> list[ReportRow]:
        """One row a project. Raises :class:`AdapterError`."""
        given = {
            "dimensions": json.dumps([DAY, PROJECT]), "metrics": json.dumps(METRICS), "filters": "[]",
            "order_by": "[]", "start_time": day.isoformat(), "end_time": day.isoformat(),
        }  # fmt: skip
        return [_row(told, day) for told in self._pages("v3.0/report/custom/get/", given, "rows", 1000)]

    def fetch_balance(self) -> list[Balance]:
        """Cash and grants of the account, in yuan. Raises :class:`AdapterError`."""
        told = self._get("2/advertiser/fund/get/", {})
        return [Balance("CNY", money(told.get("balance")))]

    # Calls ----------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Read one project: enough to know that the token opens the account."""
        try:
            self._get("v3.0/project/list/", {"page": "1", "page_size": "1"})
        except AdapterError as error:
            return Checked(False, str(error))
        return Checked(
            True,
            _("Ocean Engine lets us into account %s.") % self._account_id,
            {"account_id": self._account_id},
        )

    def exchange(self, credentials: Credentials) -> Credentials:
        told, status = self.ask(
            "POST", "/open_api/oauth2/refresh_token/",
            json={
                "app_id": str(self.account.settings.get("app_id") or ""),
                "secret": str(credentials.get("app_secret") or ""), "grant_type": "refresh_token",
                "refresh_token": str(credentials["refresh_token"]),
            },
        )  # fmt: skip
        fresh = self.understand(told, status)
        return {name: fresh.get(name) for name in ("access_token", "refresh_token")}

    def understand(self, told: Mapping[str, Any], status: int) -> Any:
        code = told.get("code")
        if code == 0:
            return told.get("data") or {}
        if code in OVER:
            raise self.over(code, told.get("message"))
        raise self.error(code, told.get("message"), retry=RETRY, stops=STOPS)

    def _get(self, path: str, given: Mapping[str, str]) -> dict[str, Any]:
        return dict(
            self.call("GET", f"/open_api/{path}", params={"advertiser_id": self._account_id, **given})
        )

    def _post(self, path: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return dict(
            self.call("POST", f"/open_api/{path}", json={"advertiser_id": int(self._account_id), **given})
        )

    def _pages(self, path: str, given: Mapping[str, str], rows: str, size: int) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            answer = self._get(path, {**given, "page": str(page), "page_size": str(size)})
            yield from answer.get(rows) or ()
            if page >= int((answer.get("page_info") or {}).get("total_page") or 1):
                return
            page += 1


def _source_name(name: str) -> str:
    """At most thirty characters, different for different names."""
    return f"{name[:17]} {sha256(name)[:12]}"


def _message(hashes: Sequence[str]) -> bytes:
    """One DmpData message (protocol buffers): a repeated IdItem of dataType (field 2) and id (field 3)."""
    kind = bytes([0x10, MOBILE_SHA256])
    items = []
    for value in hashes:
        raw = value.encode()
        item = kind + bytes([0x1A, len(raw)]) + raw
        items.append(bytes([0x0A, len(item)]) + item)
    return b"".join(items)


def _packed(hashes: Sequence[str], most: int = MOST_BYTES) -> Iterator[bytes]:
    """Zips below the platform's limit, of lines of base64 with up to ten thousand ids each."""
    a_hash = 4 * 70 // 3 + 1  # bytes of base64 that one takes; no compression counted on
    size = max(1, (most - 4096) // a_hash)
    for start in range(0, len(hashes), size):
        part = hashes[start : start + size]
        lines = [
            base64.b64encode(_message(part[first : first + MOST_A_LINE]))
            for first in range(0, len(part), MOST_A_LINE)
        ]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("ids", b"\n".join(lines) + b"\n")
        yield buffer.getvalue()


def _same(name: str, known: Any, wanted: Any) -> bool:
    if name == "budget":
        return known is not None and money(known) == money(wanted)
    return str(known or "")[:10] == wanted if name.endswith("_time") else bool(known == wanted)


def _aimed_at(project: Mapping[str, Any]) -> set[str]:
    return {str(one) for one in (project.get("audience") or {}).get("retargeting_tags_include") or ()}


def _moment(text: Any) -> dt.datetime | None:
    """A time as the platform writes it, of Beijing; None for none."""
    return dt.datetime.fromisoformat(str(text)).replace(tzinfo=ZONE) if text else None


def _row(told: Mapping[str, Any], day: dt.date) -> ReportRow:
    dimensions, metrics = told.get("dimensions") or {}, told.get("metrics") or {}
    conversions = metrics.get("convert_cnt")
    return ReportRow(
        day=dt.date.fromisoformat(str(dimensions.get(DAY) or day)[:10]),
        placement=str(dimensions[PROJECT]),
        currency="CNY",
        spend=money(metrics.get("stat_cost")),
        exposures=whole(metrics.get("show_cnt")),
        clicks=whole(metrics.get("click_cnt")),
        conversions=None if conversions is None else money(conversions),
    )
