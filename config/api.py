"""All paths below /api/v1/: the `urlpatterns` of each app's `api_urls.py`, then those of its `router`."""

from django.urls import URLPattern, URLResolver

from config.collect import modules

app_name = "api"
urlpatterns: list[URLPattern | URLResolver] = []
for module in modules("api_urls"):
    urlpatterns += getattr(module, "urlpatterns", [])
    if hasattr(module, "router"):
        urlpatterns += module.router.urls
