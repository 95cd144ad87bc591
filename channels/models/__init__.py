from channels.models.channel import (
    Channel,
    ChannelCalls,
    ChannelCapacity,
    ChannelCount,
    ChannelThrottle,
    Employee,
    EmployeeContact,
    PlatformRule,
)
from channels.models.employee import CustomerGroup, EmployeeDay
from channels.models.fetch import ChannelFetch
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
from channels.models.push import PushDestination, SpendPush

__all__ = [
    "Channel",
    "ChannelCalls",
    "ChannelCapacity",
    "ChannelCount",
    "ChannelFetch",
    "ChannelThrottle",
    "CustomerGroup",
    "DailyReport",
    "Employee",
    "EmployeeContact",
    "EmployeeDay",
    "InboxEvent",
    "KolAccount",
    "KolPlacement",
    "Link",
    "PlatformAudience",
    "PlatformAudienceMember",
    "PlatformRemoval",
    "PlatformRule",
    "PushDestination",
    "SpendPush",
    "WalletEntry",
    "WalletStatement",
]
