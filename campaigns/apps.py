from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CampaignsConfig(AppConfig):
    name = "campaigns"
    verbose_name = _("Campaigns")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from campaigns import (
            cards,
            followers,
            imports,
            lifecycle_jobs,
            panels,
            places,
            queue_facts,
            quota_panel,
            rule_kinds,
            rule_standings,
            spend_facts,
        )

        imports.register()
        lifecycle_jobs.register()
        rule_kinds.register()
        followers.register()
        panels.register()
        cards.register()
        places.register()
        queue_facts.register()
        spend_facts.register()
        quota_panel.register()
        rule_standings.register()
