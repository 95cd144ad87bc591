from django.urls import path

from channels.views import (
    audiences,
    channels,
    inbound,
    inbox,
    kol,
    money,
    public,
    pushes,
    rotation,
    rules,
)

app_name = "channels"
# Called by machines and by clicks, all day: nothing but security headers stands before them (config/wsgi.py).
busy = [
    path("l/<str:token>", public.follow, name="follow"),
    path("o/<str:token>.gif", public.pixel, name="pixel"),
    path("in/<int:channel_id>/<str:secret>/", inbound.inbound, name="inbound"),
]
urlpatterns = [
    # For everybody, by a sealed token or a secret path. One letter each: they stand in text messages.
    *busy,
    path("u/<str:token>", public.unsubscribe, name="unsubscribe"),
    path("p/<str:token>", public.preference_centre, name="preference_centre"),
    # For people of the company.
    path("channels/", channels.channels, name="channels"),
    path("channels/connect/", channels.connect, name="connect"),
    path("channels/<int:pk>/", channels.channel, name="channel"),
    path("channels/<int:pk>/edit/", channels.edit, name="edit"),
    path("channels/<int:pk>/check/", channels.check, name="check"),
    path("channels/<int:pk>/rotate/", rotation.rotate, name="rotate"),
    path("channels/<int:pk>/state/", channels.change_state, name="change_state"),
    path("channels/<int:pk>/capacity/", channels.capacity, name="capacity"),
    path("channels/audiences/<int:pk>/", audiences.audience, name="audience"),
    path("channels/audiences/<int:pk>/list/", audiences.audience_list, name="audience_list"),
    path("channels/audiences/<int:pk>/uploaded/", audiences.uploaded, name="audience_uploaded"),
    path("channels/audiences/<int:pk>/flight/", audiences.flight_reference, name="audience_flight"),
    path("channels/kol/", kol.accounts, name="kol"),
    path("channels/kol/export.csv", kol.export, name="kol_export"),
    path("channels/kol/new/", kol.new_account, name="new_kol_account"),
    path("channels/kol/<int:pk>/", kol.account, name="kol_account"),
    path("channels/kol/<int:pk>/archive/", kol.archive_account, name="archive_kol_account"),
    path("channels/inbox/", inbox.inbox, name="inbox"),
    path("channels/inbox/replay/", inbox.replay, name="replay"),
    path("channels/inbox/<int:pk>/", inbox.event, name="event"),
    path("channels/inbox/<int:pk>/ignore/", inbox.ignore, name="ignore"),
    path("channels/spend/", money.spend, name="spend"),
    path("channels/spend/sheet/", money.sheet, name="sheet"),
    path("channels/spend/pushes/", pushes.pushes, name="pushes"),
    path("channels/spend/pushes/new/", pushes.new_push, name="new_push"),
    path("channels/spend/pushes/<int:pk>/", pushes.push, name="push"),
    path("channels/spend/pushes/<int:pk>/edit/", pushes.edit_push, name="edit_push"),
    path("channels/spend/pushes/<int:pk>/send/", pushes.send_push, name="send_push"),
    path("channels/spend/pushes/<int:pk>/active/", pushes.set_active, name="set_push_active"),
    path("channels/spend/reports/", money.reports, name="reports"),
    path("channels/wallets/", money.wallets, name="wallets"),
    path("channels/wallets/fetch/", money.fetch_balances, name="fetch_balances"),
    path("channels/rules/", rules.rules, name="rules"),
    path("channels/rules/new/", rules.new_rule, name="new_rule"),
    path("channels/rules/<int:pk>/", rules.rule, name="rule"),
    path("channels/rules/<int:pk>/end/", rules.end_rule, name="end_rule"),
]
