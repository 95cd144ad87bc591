from django.urls import path

from channels.views import inbound, public

app_name = "channels"
urlpatterns = [
    # For everybody, by a sealed token or a secret path. One letter each: they stand in text messages.
    path("l/<str:token>", public.follow, name="follow"),
    path("o/<str:token>.gif", public.pixel, name="pixel"),
    path("u/<str:token>", public.unsubscribe, name="unsubscribe"),
    path("p/<str:token>", public.preference_centre, name="preference_centre"),
    path("in/<int:channel_id>/<str:secret>/", inbound.inbound, name="inbound"),
]
