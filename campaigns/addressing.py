"""By which identities a channel can address a person."""

from audiences.vocabulary import REACHED_BY, IdentityKind
from channels.adapters import all_adapters
from channels.models import Channel

# Identities of these kinds belong to an account: only those of the channel's own account can be addressed.
ACCOUNT_SETTINGS: dict[str, tuple[str, ...]] = {
    IdentityKind.WECOM_EXTERNAL_ID: ("corp_id", "corpid"),
    IdentityKind.OPENID: ("app_id", "appid"),
}


def addressed_by(channel: Channel) -> list[tuple[str, str | None]]:
    """(identity kind, issuer) best first; an issuer of None is any issuer."""
    adapter = all_adapters().get(channel.adapter)
    kinds = (adapter.address_kinds if adapter else ()) or REACHED_BY[channel.medium]
    return [(kind, _issuer(channel, kind)) for kind in kinds]


def _issuer(channel: Channel, kind: str) -> str | None:
    if kind == IdentityKind.MEMBER_NUMBER:
        return channel.brand.code
    told = (channel.settings.get(name) for name in ACCOUNT_SETTINGS.get(kind, ()))
    return next((str(value) for value in told if value), None)
