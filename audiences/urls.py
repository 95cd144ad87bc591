from django.urls import URLPattern, URLResolver, path

from audiences.views import customers, imports, jobs, segments

app_name = "audiences"
urlpatterns: list[URLPattern | URLResolver] = [
    path("customers/", customers.customers, name="customers"),
    path("customers/<int:pk>/", customers.customer, name="customer"),
    path("customers/<int:pk>/opt-out/", customers.customer_opt_out, name="customer_opt_out"),
    path("customers/<int:pk>/grant/", customers.customer_grant, name="customer_grant"),
    path("customers/<int:pk>/tag/", customers.customer_tag, name="customer_tag"),
    path("customers/<int:pk>/tags/<int:tag>/remove/", customers.customer_untag, name="customer_untag"),
    path("customers/<int:pk>/merge/", customers.customer_merge, name="customer_merge"),
    path("customers/<int:pk>/merges/<int:merge>/undo/", customers.customer_unmerge, name="customer_unmerge"),
    path("customers/<int:pk>/export/", customers.customer_export, name="customer_export"),
    path("customers/<int:pk>/erase/", customers.customer_erase, name="customer_erase"),
    path("segments/", segments.segments, name="segments"),
    path("segments/new/", segments.new_segment, name="new_segment"),
    path("segments/new-list/", segments.new_list, name="new_list"),
    path("segments/estimate/", segments.segment_estimate, name="segment_estimate"),
    path("segments/<int:pk>/", segments.segment, name="segment"),
    path("segments/<int:pk>/edit/", segments.edit_segment, name="edit_segment"),
    path("segments/<int:pk>/count/", segments.segment_count, name="segment_count"),
    path("segments/<int:pk>/archive/", segments.segment_archive, name="segment_archive"),
    path("segments/<int:pk>/freeze/", segments.segment_freeze, name="segment_freeze"),
    path(
        "segments/<int:pk>/members/<int:customer>/remove/",
        segments.segment_remove_member,
        name="segment_remove_member",
    ),
    path("imports/", imports.imports, name="imports"),
    path("imports/new/", imports.new_import, name="new_import"),
    path("imports/columns/<slug:kind>.csv", imports.import_columns, name="import_columns"),
    path("imports/<int:pk>/", imports.one_import, name="import"),
    path("imports/<int:pk>/refused.csv", imports.import_bad_rows, name="import_bad_rows"),
    path("imports/<int:pk>/remove/", imports.import_remove, name="import_remove"),
    path("imports/<int:pk>/discard/", imports.import_discard, name="import_discard"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/<int:pk>/", jobs.job, name="job"),
    path("jobs/<int:pk>/progress/", jobs.job_progress, name="job_progress"),
    path("jobs/<int:pk>/cancel/", jobs.job_cancel, name="job_cancel"),
]
