from django.urls import URLPattern, URLResolver, path

from audiences.views import jobs

app_name = "audiences"
urlpatterns: list[URLPattern | URLResolver] = [
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/<int:pk>/", jobs.job, name="job"),
    path("jobs/<int:pk>/progress/", jobs.job_progress, name="job_progress"),
    path("jobs/<int:pk>/cancel/", jobs.job_cancel, name="job_cancel"),
]
