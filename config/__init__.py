"""The installation: settings, addresses, the embedded database, the queue and `manage.py up`."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
