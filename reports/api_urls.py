from django.urls import path

from reports.api import CoverageView, LedgerView, RoiView

urlpatterns = [
    path("reports/coverage/<int:campaign_id>/", CoverageView.as_view(), name="report-coverage"),
    path("reports/roi/<int:campaign_id>/", RoiView.as_view(), name="report-roi"),
    path("reports/ledger/", LedgerView.as_view(), name="report-ledger"),
]
