"""The manual twin of every medium: people send, call or book; we export what to do and import what was done.

A person-observed medium: ``send`` makes a task and holds it (reference ``manual-<attempt id>``); it is listed
for export, and settled by an import of receipts. An ad platform or a KOL: audience lists and placement sheets
are exported, daily reports and balances are imported.
"""

from collections.abc import Sequence
from typing import ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.vocabulary import Medium
from channels.adapters.base import (
    BaseAdapter,
    Checked,
    InboundReply,
    InboundRequest,
    Outcome,
    Outgoing,
    Sent,
    Setting,
)
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel

PREFIX = "manual-"
AUDIENCE_MEDIA = (Medium.SEARCH, Medium.SOCIAL, Medium.VIDEO)


class Adapter(BaseAdapter):
    name = "manual"
    label = gettext_lazy("By hand (lists and files)")
    media: ClassVar[tuple[str, ...]] = tuple(Medium.values)
    domain = Domain.PRIVATE
    guarantee = Guarantee.CONFIRMED_LATER
    observability = Observability.PERSON_OBSERVED
    price_model = PriceModel.PER_MESSAGE
    batch_size = 1000
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            "instructions",
            gettext_lazy("What to do with a list"),
            gettext_lazy("Shown beside each exported list, such as the tool to load it into."),
            "textarea",
            required=False,
        ),
        Setting(
            "signature",
            gettext_lazy("Signature"),
            gettext_lazy("For text messages in mainland China: the approved signature."),
            required=False,
        ),
        Setting(
            "country",
            gettext_lazy("Country of the recipients"),
            gettext_lazy("Two letters, such as CN; empty: several."),
            required=False,
        ),
        Setting("postal_address", gettext_lazy("Postal address"), required=False),
    )

    @classmethod
    def traits(cls, medium: str) -> tuple[Domain, Guarantee, Observability]:
        if medium in AUDIENCE_MEDIA:
            return Domain.PUBLIC, Guarantee.AGGREGATE, Observability.PERSON_TARGETED
        if medium == Medium.KOL:
            return Domain.PUBLIC, Guarantee.AGGREGATE, Observability.PLACEMENT
        return Domain.PRIVATE, Guarantee.CONFIRMED_LATER, Observability.PERSON_OBSERVED

    def send(self, batch: Sequence[Outgoing]) -> list[Sent]:
        """Nothing leaves: each message becomes a task that a person does, and a file settles."""
        return [Sent(message.attempt_id, Outcome.HELD, f"{PREFIX}{message.attempt_id}") for message in batch]

    def parse_inbound(self, request: InboundRequest) -> InboundReply:
        """There is no provider: what was done comes by import (screen, command or API)."""
        return InboundReply(status=404, body=b"This channel is worked by hand. Import its receipts.")

    def check(self) -> Checked:
        return Checked(True, _("Nothing to connect. Export the list, and import what was done."))
