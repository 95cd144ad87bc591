"""What Celery is told: the queue inside the database, or Redis, or RabbitMQ.

A module of its own, since Celery reads it only once something is published or a worker starts.
"""

from typing import Any

from django.conf import settings

QUEUE = "evenreach"


def conn_string() -> str:
    """The database in key=value form; the URL form loses the folder of the socket on its way."""
    from psycopg.conninfo import make_conninfo

    one = settings.DATABASES["default"]
    options = {name: value for name, value in one.get("OPTIONS", {}).items() if isinstance(value, str)}
    return make_conninfo(
        "",
        host=one["HOST"] or None,
        port=one["PORT"] or None,
        user=one["USER"] or None,
        password=one["PASSWORD"] or None,
        dbname=one["NAME"],
        **options,
    )


def options() -> dict[str, Any]:
    common: dict[str, Any] = {
        "task_always_eager": settings.TASKS_AT_ONCE,
        "task_eager_propagates": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "broker_connection_retry_on_startup": True,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "timezone": "UTC",
        "enable_utc": True,
        "beat_schedule_filename": str(settings.DATA_DIR / "beat-schedule"),
        "beat_scheduler": "config.beat:Scheduler",
        "beat_max_loop_interval": 5,
    }
    url = settings.BROKER_URL
    if not url:
        return common | {
            "broker_url": "pgmq://localhost",  # the host is in conn_string; a name here avoids a warning
            "broker_transport_options": {
                "conn_string": conn_string(),
                "init_extension": False,
                "polling_interval": 0.1,
                "wait_time_seconds": 2,
                "visibility_timeout": settings.LONGEST_TASK,
                "pool_size": 4,
            },
            "worker_prefetch_multiplier": 1,
            "worker_enable_remote_control": False,
            "worker_pool": "threads",
        }
    if url.startswith("redis"):
        return common | {
            "broker_url": url,
            "broker_transport_options": {
                "visibility_timeout": settings.LONGEST_TASK,
                "unacked_restore_throttle": 1,
            },
            "worker_prefetch_multiplier": 1,
        }
    return common | {
        "broker_url": url,
        "task_default_queue_type": "quorum",
        "worker_detect_quorum_queues": True,
        "broker_transport_options": {"confirm_publish": True},
        "worker_prefetch_multiplier": 1,
    }


OPTIONS = options()
