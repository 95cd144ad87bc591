"""The paths of this app below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from audiences.api import commerce, imports, people, segments
from audiences.api.jobs import JobCancelView, JobListView, JobView

urlpatterns: list[URLPattern | URLResolver] = [
    path("customers/", people.Customers.as_view(), name="customers"),
    path("customers/<int:pk>/", people.OneCustomer.as_view(), name="customer"),
    path("customers/<int:pk>/consents/", people.Consents.as_view(), name="customer_consents"),
    path("customers/<int:pk>/opt-out/", people.OptOut.as_view(), name="customer_opt_out"),
    path("customers/<int:pk>/merges/", people.Merges.as_view(), name="customer_merges"),
    path("customers/<int:pk>/export/", people.Export.as_view(), name="customer_export"),
    path("customers/<int:pk>/erase/", people.Erase.as_view(), name="customer_erase"),
    path("merges/<int:pk>/undo/", people.UndoMerge.as_view(), name="merge_undo"),
    path("identities/lookup/", people.Lookup.as_view(), name="identity_lookup"),
    path("orders/", commerce.Orders.as_view(), name="orders"),
    path("orders/<int:pk>/", commerce.OneOrder.as_view(), name="order"),
    path("products/", commerce.Products.as_view(), name="products"),
    path("events/", commerce.BehaviourEvents.as_view(), name="events"),
    path("segments/", segments.Segments.as_view(), name="segments"),
    path("segments/count/", segments.Count.as_view(), name="segment_count_rule"),
    path("segments/<int:pk>/", segments.OneSegment.as_view(), name="segment"),
    path("segments/<int:pk>/count/", segments.CountAgain.as_view(), name="segment_count"),
    path("segments/<int:pk>/reach/", segments.Reach.as_view(), name="segment_reach"),
    path("segments/<int:pk>/members/", segments.Members.as_view(), name="segment_members"),
    path("segments/<int:pk>/archive/", segments.Archive.as_view(), name="segment_archive"),
    path("segment-rule-kinds/", segments.RuleKinds.as_view(), name="segment_rule_kinds"),
    path("imports/", imports.Imports.as_view(), name="imports"),
    path("imports/<int:pk>/", imports.OneImport.as_view(), name="import"),
    path("imports/<int:pk>/bad-rows/", imports.BadRows.as_view(), name="import_bad_rows"),
    path("imports/<int:pk>/bad-rows.csv", imports.BadRowsFile.as_view(), name="import_bad_rows_file"),
    path("imports/<int:pk>/remove/", imports.RemoveImport.as_view(), name="import_remove"),
    path("import-kinds/", imports.Kinds.as_view(), name="import_kinds"),
    path("<slug:kind>/batch/", imports.Batch.as_view(), name="batch"),
    path("jobs/", JobListView.as_view(), name="jobs"),
    path("jobs/<int:pk>/", JobView.as_view(), name="job"),
    path("jobs/<int:pk>/cancel/", JobCancelView.as_view(), name="job-cancel"),
]
