from django.urls import URLPattern, URLResolver, path

from campaigns.views import approval, campaigns, editor, forecast, live, messages, policy, tasks

app_name = "campaigns"
urlpatterns: list[URLPattern | URLResolver] = [
    path("campaigns/", campaigns.campaigns, name="campaigns"),
    path("campaigns/new/", campaigns.new_campaign, name="new_campaign"),
    path("campaigns/calendar/", campaigns.calendar, name="calendar"),
    path("campaigns/<int:pk>/", campaigns.campaign, name="campaign"),
    path("campaigns/<int:pk>/duplicate/", campaigns.duplicate, name="duplicate"),
    path("campaigns/<int:pk>/delete/", campaigns.delete, name="delete"),
    path("campaigns/<int:pk>/discard/", campaigns.discard, name="discard"),
    # The steps
    path("campaigns/<int:pk>/basics/", editor.basics, name="basics"),
    path("campaigns/<int:pk>/matrix/", editor.matrix, name="matrix"),
    path("campaigns/<int:pk>/content/", editor.words, name="content"),
    path("campaigns/<int:pk>/rules/", editor.rules, name="rules"),
    path("campaigns/<int:pk>/reach/", editor.reach, name="reach"),
    path("campaigns/<int:pk>/forecast/", forecast.forecast, name="forecast"),
    path("campaigns/<int:pk>/forecast/run/", forecast.plan, name="plan"),
    path("campaigns/<int:pk>/forecast/explain/", forecast.explain, name="explain"),
    path("campaigns/<int:pk>/approval/", approval.approval, name="approval"),
    path("campaigns/<int:pk>/submit/", approval.submit, name="submit"),
    path("campaigns/<int:pk>/withdraw/", approval.withdraw, name="withdraw"),
    path("campaigns/<int:pk>/versions/<int:number>/decide/", approval.decide, name="decide"),
    path("campaigns/<int:pk>/live/", live.live, name="live"),
    path("campaigns/<int:pk>/pause/", live.pause, name="pause"),
    path("campaigns/<int:pk>/resume/", live.resume, name="resume"),
    path("campaigns/<int:pk>/stop/", live.stop, name="stop"),
    path("campaigns/<int:pk>/release/", live.release_again, name="release_again"),
    path("campaigns/<int:pk>/review/", live.review, name="review"),
    path("campaigns/<int:pk>/channels/<int:channel_pk>/list.csv", tasks.held_list, name="held_list"),
    # What people do
    path("tasks/", tasks.tasks, name="tasks"),
    path("tasks/<int:pk>/", tasks.task, name="task"),
    path("tasks/<int:pk>/report/", tasks.report, name="report_task"),
    path("tasks/<int:pk>/undo/", tasks.undo, name="undo_task"),
    # What holds over all campaigns
    path("contact-policy/", policy.policy, name="policy"),
    path("contact-policy/new/", policy.pressure_rule, name="new_pressure_rule"),
    path("contact-policy/<int:pk>/", policy.pressure_rule, name="pressure_rule"),
    path("contact-policy/<int:pk>/delete/", policy.delete_pressure_rule, name="delete_pressure_rule"),
    path("approval-thresholds/new/", policy.threshold, name="threshold"),
    path("approval-thresholds/<int:pk>/delete/", policy.delete_threshold, name="delete_threshold"),
    path("offers/", policy.offers, name="offers"),
    path("offers/new/", policy.offer, name="new_offer"),
    path("offers/<int:pk>/", policy.offer, name="offer"),
    path("modes/new/", policy.mode, name="new_mode"),
    path("modes/<int:pk>/", policy.mode, name="mode"),
    # Content library
    path("content/", messages.library_list, name="messages"),
    path("content/new/", messages.new_message, name="new_message"),
    path("content/<int:pk>/", messages.message, name="message"),
    path("content/<int:pk>/v/<int:number>/", messages.message, name="message_version"),
    path("content/<int:pk>/new-version/", messages.new_version, name="new_message_version"),
    path("content/<int:pk>/archive/", messages.archive, name="archive_message"),
    path("content/version/<int:pk>/<int:variant>/html/", messages.message_html, name="message_html"),
]
