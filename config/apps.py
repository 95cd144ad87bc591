from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


def install_queue(using: str = "default", **kwargs: Any) -> None:
    from config.queue import install

    install(using)


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = _("Installation")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from config import checks, openapi, places  # noqa: F401  (they register themselves)

        places.register()

        # The task queue lives in the same database and is not made of models, so it follows `migrate`.
        post_migrate.connect(install_queue, sender=self)
