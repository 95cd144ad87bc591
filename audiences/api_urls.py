"""The paths of this app below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from audiences.api.jobs import JobCancelView, JobListView, JobView

urlpatterns: list[URLPattern | URLResolver] = [
    path("jobs/", JobListView.as_view(), name="jobs"),
    path("jobs/<int:pk>/", JobView.as_view(), name="job"),
    path("jobs/<int:pk>/cancel/", JobCancelView.as_view(), name="job-cancel"),
]
