from reports.models.coverage import CoverageChange, CoverageDay, CoverageStanding
from reports.models.ledger import FxRate, LedgerBatch, LedgerEntry, LedgerPeriod, SourceDocument
from reports.models.measures import (
    AttributionCredit,
    AttributionRun,
    LiftMeasure,
    SelectionMeasure,
    SignedReport,
)

__all__ = [
    "AttributionCredit",
    "AttributionRun",
    "CoverageChange",
    "CoverageDay",
    "CoverageStanding",
    "FxRate",
    "LedgerBatch",
    "LedgerEntry",
    "LedgerPeriod",
    "LiftMeasure",
    "SelectionMeasure",
    "SignedReport",
    "SourceDocument",
]
