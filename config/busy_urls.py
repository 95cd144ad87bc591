"""The addresses of :class:`config.wsgi.BusyHandler`."""

from django.urls import include, path

from channels.urls import busy

urlpatterns = [path("", include((busy, "channels")))]
