"""The paths of this app below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from campaigns.api import broadcasts, campaigns, employees, kol, occasions, running, tasks, words

STEPS = {
    "submit": campaigns.Submit,
    "withdraw": campaigns.Withdraw,
    "approve": campaigns.Approve,
    "reject": campaigns.Reject,
    "pause": campaigns.Pause,
    "resume": campaigns.Resume,
    "stop": campaigns.Stop,
    "review": campaigns.Review,
}

urlpatterns: list[URLPattern | URLResolver] = [
    path("campaigns/", campaigns.Campaigns.as_view(), name="campaigns"),
    path("campaigns/<int:pk>/", campaigns.OneCampaign.as_view(), name="campaign"),
    path("campaigns/<int:pk>/duplicate/", campaigns.Duplicate.as_view(), name="campaign_duplicate"),
    path("campaigns/<int:pk>/versions/", campaigns.Versions.as_view(), name="campaign_versions"),
    path("campaigns/<int:pk>/plan/", campaigns.StartPlan.as_view(), name="campaign_plan"),
    path("campaigns/<int:pk>/plans/", running.Plans.as_view(), name="campaign_plans"),
    path("campaigns/<int:pk>/forecast/", running.Forecast.as_view(), name="campaign_forecast"),
    path("campaigns/<int:pk>/progress/", running.ProgressView.as_view(), name="campaign_progress"),
    path("campaigns/<int:pk>/members/", running.Members.as_view(), name="campaign_members"),
    path("campaigns/<int:pk>/targets/", running.Targets.as_view(), name="campaign_targets"),
    path("campaigns/<int:pk>/touches/", running.Touches.as_view(), name="campaign_touches"),
    path("campaigns/<int:pk>/attempts/", running.Attempts.as_view(), name="campaign_attempts"),
    *(
        path(f"campaigns/<int:pk>/{name}/", view.as_view(), name=f"campaign_{name}")
        for name, view in STEPS.items()
    ),
    path(
        "campaigns/<int:pk>/channels/<int:channel>/pause/",
        campaigns.PauseChannel.as_view(),
        name="campaign_pause_channel",
    ),
    path(
        "campaigns/<int:pk>/channels/<int:channel>/resume/",
        campaigns.ResumeChannel.as_view(),
        name="campaign_resume_channel",
    ),
    path("kol-posts/", kol.KolPosts.as_view(), name="kol_posts"),
    path("kol-posts/<int:pk>/posted/", kol.KolPostOut.as_view(), name="kol_post_out"),
    path("kol-posts/<int:pk>/cancel/", kol.KolPostCancel.as_view(), name="kol_post_cancel"),
    path("people-tasks/", tasks.Tasks.as_view(), name="people_tasks"),
    path("people-tasks/<int:pk>/", tasks.OneTask.as_view(), name="people_task"),
    path("people-tasks/<int:pk>/report/", tasks.TaskReport.as_view(), name="people_task_report"),
    path("people-tasks/<int:pk>/undo/", tasks.TaskUndo.as_view(), name="people_task_undo"),
    path("broadcasts/", broadcasts.Broadcasts.as_view(), name="broadcasts"),
    path("broadcasts/<int:pk>/", broadcasts.OneBroadcast.as_view(), name="broadcast"),
    path("broadcasts/<int:pk>/approve/", broadcasts.BroadcastApprove.as_view(), name="broadcast_approve"),
    path("broadcasts/<int:pk>/cancel/", broadcasts.BroadcastCancel.as_view(), name="broadcast_cancel"),
    path("channels/<int:pk>/employees/", employees.Employees.as_view(), name="channel_employees"),
    path(
        "channels/<int:pk>/employees/<int:employee>/",
        employees.OneEmployee.as_view(),
        name="channel_employee",
    ),
    path("responses/", running.Responses.as_view(), name="responses"),
    path("pressure-rules/", running.PressureRules.as_view(), name="pressure_rules"),
    path("pressure-rules/<int:pk>/", running.OnePressureRule.as_view(), name="pressure_rule"),
    path("messages/", words.Messages.as_view(), name="messages"),
    path("messages/<int:pk>/", words.OneMessage.as_view(), name="message"),
    path("messages/<int:pk>/versions/", words.MessageVersions.as_view(), name="message_versions"),
    path("messages/<int:pk>/check/<int:channel>/", words.MessageCheck.as_view(), name="message_check"),
    path("modes/", words.Modes.as_view(), name="modes"),
    path("modes/<int:pk>/", words.OneMode.as_view(), name="mode"),
    path("offers/", words.Offers.as_view(), name="offers"),
    path("offers/<int:pk>/", words.OneOffer.as_view(), name="offer"),
    path("offers/<int:pk>/codes/", words.OfferCodes.as_view(), name="offer_codes"),
    path("occasions/", occasions.Occasions.as_view(), name="occasions"),
    path("occasions/<int:pk>/", occasions.OneOccasion.as_view(), name="occasion"),
    path("occasions/<int:pk>/preview/", occasions.OccasionPreview.as_view(), name="occasion_preview"),
    path("campaigns/<int:pk>/runs/", occasions.Runs.as_view(), name="campaign_runs"),
    path("campaigns/<int:pk>/openings/", occasions.Openings.as_view(), name="campaign_openings"),
    path("campaigns/<int:pk>/offer/", occasions.OfferStanding.as_view(), name="campaign_offer"),
]
