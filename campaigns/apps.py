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
            later_rules,
            lifecycle_jobs,
            panels,
            places,
            queue_facts,
            quota_panel,
            rule_kinds,
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
        later_rules.register()
