from campaigns.models.broadcast import Broadcast, BroadcastGroup, BroadcastTask
from campaigns.models.campaign import (
    Approval,
    ApprovalRule,
    Arm,
    Campaign,
    CampaignVersion,
    Occasion,
    Phase,
    Round,
)
from campaigns.models.content import Message, MessageVariant, MessageVersion, Mode, Offer, OfferGrant
from campaigns.models.dispatch import Clock, DayCount, DispatchClaim
from campaigns.models.employee_task import EmployeeTask
from campaigns.models.frequency import (
    ApprovedOrdinal,
    Budget,
    BudgetLease,
    ChannelPlan,
    FrequencyTarget,
    PressureRule,
)
from campaigns.models.plan import Plan, PlanCell
from campaigns.models.run import (
    Attempt,
    Member,
    MemberTarget,
    PeopleTask,
    ProviderReference,
    Response,
    Touch,
)

__all__ = [
    "Approval",
    "ApprovalRule",
    "ApprovedOrdinal",
    "Arm",
    "Attempt",
    "Broadcast",
    "BroadcastGroup",
    "BroadcastTask",
    "Budget",
    "BudgetLease",
    "Campaign",
    "CampaignVersion",
    "ChannelPlan",
    "Clock",
    "DayCount",
    "DispatchClaim",
    "EmployeeTask",
    "FrequencyTarget",
    "Member",
    "MemberTarget",
    "Message",
    "MessageVariant",
    "MessageVersion",
    "Mode",
    "Occasion",
    "Offer",
    "OfferGrant",
    "PeopleTask",
    "Phase",
    "Plan",
    "PlanCell",
    "PressureRule",
    "ProviderReference",
    "Response",
    "Round",
    "Touch",
]
