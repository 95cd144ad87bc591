from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReportsConfig(AppConfig):
    name = "reports"
    verbose_name = _("Reports")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audiences.jobs import job_kind
        from audiences.registers import NavigationEntry, import_kinds, navigation
        from reports.cost_import import COSTS
        from reports.measuring import measure_job

        job_kind("measure", measure_job, _("Bringing a report up to date"))
        import_kinds.add("costs", COSTS)
        group = _("Reports")
        navigation.add(
            "reports.coverage",
            NavigationEntry(_("Coverage"), "reports:coverage_index", "target-arrow", 410, group=group),
        )
        navigation.add(
            "reports.roi", NavigationEntry(_("ROI"), "reports:roi_index", "chart-line", 420, group=group)
        )
        navigation.add(
            "reports.finance",
            NavigationEntry(_("Finance"), "reports:finance", "report-money", 430, group=group),
        )
