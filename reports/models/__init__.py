from reports.models.ledger import FxRate, LedgerBatch, LedgerEntry, LedgerPeriod, SourceDocument
from reports.models.measures import AttributionCredit, AttributionRun, CoverageDay, LiftMeasure, SignedReport

__all__ = [
    "AttributionCredit",
    "AttributionRun",
    "CoverageDay",
    "FxRate",
    "LedgerBatch",
    "LedgerEntry",
    "LedgerPeriod",
    "LiftMeasure",
    "SignedReport",
    "SourceDocument",
]
