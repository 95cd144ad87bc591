"""The paths of this app below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from channels.api import audiences, channels, inbox, kol, money, rules

urlpatterns: list[URLPattern | URLResolver] = [
    path("adapters/", channels.Adapters.as_view(), name="adapters"),
    path("channels/", channels.Channels.as_view(), name="channels"),
    path("channels/<int:pk>/", channels.OneChannel.as_view(), name="channel"),
    path("channels/<int:pk>/check/", channels.Check.as_view(), name="channel_check"),
    path("channels/<int:pk>/state/", channels.State.as_view(), name="channel_state"),
    path("channels/<int:pk>/health/", channels.HealthView.as_view(), name="channel_health"),
    path("channels/<int:pk>/capacities/", channels.Capacities.as_view(), name="channel_capacities"),
    path("platform-rules/", rules.Rules.as_view(), name="platform_rules"),
    path("platform-rules/<int:pk>/", rules.OneRule.as_view(), name="platform_rule"),
    path("platform-audiences/", audiences.PlatformAudiences.as_view(), name="platform_audiences"),
    path("platform-audiences/<int:pk>/", audiences.OnePlatformAudience.as_view(), name="platform_audience"),
    path("inbox-events/", inbox.Events.as_view(), name="inbox_events"),
    path("inbox-events/replay/", inbox.Replay.as_view(), name="inbox_replay"),
    path("inbox-events/<int:pk>/", inbox.OneEvent.as_view(), name="inbox_event"),
    path("kol-accounts/", kol.KolAccounts.as_view(), name="kol_accounts"),
    path("kol-accounts/<int:pk>/", kol.OneKolAccount.as_view(), name="kol_account"),
    path("kol-ranking/", kol.KolRanking.as_view(), name="kol_ranking"),
    path("daily-reports/", money.Reports.as_view(), name="daily_reports"),
    path("spend/sheet/", money.Sheet.as_view(), name="spend_sheet"),
    path("spend/", money.Spend.as_view(), name="spend"),
    path("wallets/", money.Wallets.as_view(), name="wallets"),
    path("wallet-entries/", money.WalletEntries.as_view(), name="wallet_entries"),
]
