from django.urls import path, re_path

from reports.views import coverage, coverage_rows, finance, roi

app_name = "reports"

urlpatterns = [
    path("reports/coverage/", coverage.coverage_index, name="coverage_index"),
    path("reports/coverage/contacted/", coverage_rows.contacted, name="contacted"),
    path("reports/coverage/all/<slug:figure>/", coverage_rows.coverage_all_rows, name="coverage_all_rows"),
    path("reports/coverage/<int:campaign_id>/", coverage.coverage_page, name="coverage"),
    path("reports/coverage/<int:campaign_id>/people/", coverage_rows.coverage_people, name="coverage_people"),
    path(
        "reports/coverage/<int:campaign_id>/members/<slug:which>/",
        coverage_rows.coverage_members,
        name="coverage_members",
    ),
    path(
        "reports/coverage/<int:campaign_id>/<slug:figure>/", coverage_rows.coverage_rows, name="coverage_rows"
    ),
    path("reports/roi/", roi.roi_index, name="roi_index"),
    path("reports/roi/<int:campaign_id>/", roi.roi_page, name="roi"),
    path("reports/roi/<int:campaign_id>/measure/", roi.measure_now, name="measure"),
    path("reports/roi/<int:campaign_id>/sign/", roi.sign_roi, name="sign_roi"),
    re_path(
        r"^reports/roi/(?P<campaign_id>\d{1,18})/lift/(?P<side>treated|held_out)/$",
        roi.lift_rows,
        name="lift_rows",
    ),
    path("reports/attribution/<int:run_id>/", roi.credit_rows, name="credit_rows"),
    path("reports/signed/<int:pk>/", roi.signed_report, name="signed_report"),
    path("reports/finance/", finance.finance, name="finance"),
    path("reports/finance/post/", finance.post_costs, name="post_costs"),
    path("reports/finance/close/", finance.close_period, name="close_period"),
    path("reports/finance/rates/", finance.add_rate, name="add_rate"),
    path("reports/ledger/", finance.ledger_rows, name="ledger"),
]
