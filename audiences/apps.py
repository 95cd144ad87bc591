from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AudiencesConfig(AppConfig):
    name = "audiences"
    verbose_name = _("Audiences")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audiences import jobs, scores, stages
        from audiences.access import Role
        from audiences.imports import batches, kinds
        from audiences.registers import NavigationEntry, navigation
        from audiences.segments import kinds as segment_kinds

        kinds.register()
        segment_kinds.register()
        jobs.job_kind(
            "import", batches.run, _("Import of a file"), (Role.MARKETER, Role.CHANNEL_ADMIN, Role.FINANCE)
        )
        jobs.job_kind("stages", stages.run, _("Finding the stages"), (Role.MARKETER,))
        jobs.job_kind("rfm", scores.run, _("Computing scores"), (Role.MARKETER,))

        group = _("Audiences")
        for position, (name, label, icon) in enumerate(
            (
                ("customers", _("Customers"), "users"),
                ("segments", _("Segments"), "users-group"),
                ("stages", _("Stages and scores"), "stairs-up"),
                ("imports", _("Imports"), "file-import"),
            )
        ):
            entry = NavigationEntry(label, f"audiences:{name}", icon, 100 + 10 * position, group=group)
            navigation.add(f"audiences.{name}", entry)
