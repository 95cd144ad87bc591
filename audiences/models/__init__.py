from audiences.models.commerce import BehaviourEvent, Order, OrderLine, Product
from audiences.models.consent import Consent, ConsentChange, PrivacyRequest, Suppression
from audiences.models.contact_state import ContactState
from audiences.models.customer import Brand, Customer, CustomerTag, Identity, Merge, Score, Tag
from audiences.models.imports import BadRow, ImportBatch
from audiences.models.jobs import Job
from audiences.models.segment import Segment, SegmentMember, StageRule

__all__ = [
    "BadRow",
    "BehaviourEvent",
    "Brand",
    "Consent",
    "ConsentChange",
    "ContactState",
    "Customer",
    "CustomerTag",
    "Identity",
    "ImportBatch",
    "Job",
    "Merge",
    "Order",
    "OrderLine",
    "PrivacyRequest",
    "Product",
    "Score",
    "Segment",
    "SegmentMember",
    "StageRule",
    "Suppression",
    "Tag",
]
