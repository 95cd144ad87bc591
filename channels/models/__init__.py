from channels.models.channel import (
    Channel,
    ChannelCapacity,
    ChannelCount,
    ChannelThrottle,
    Employee,
    EmployeeContact,
    PlatformRule,
)
from channels.models.inbox import InboxEvent, Link
from channels.models.kol import KolAccount, KolPlacement
from channels.models.platform import (
    DailyReport,
    PlatformAudience,
    PlatformAudienceMember,
    PlatformRemoval,
    WalletEntry,
    WalletStatement,
)

__all__ = [
    "Channel",
    "ChannelCapacity",
    "ChannelCount",
    "ChannelThrottle",
    "DailyReport",
    "Employee",
    "EmployeeContact",
    "InboxEvent",
    "KolAccount",
    "KolPlacement",
    "Link",
    "PlatformAudience",
    "PlatformAudienceMember",
    "PlatformRemoval",
    "PlatformRule",
    "WalletEntry",
    "WalletStatement",
]
