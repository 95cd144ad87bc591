"""When beat wakes the tasks of channels."""

from typing import Any

BEAT: dict[str, dict[str, Any]] = {
    "channels-sync-audiences": {
        "task": "channels.tasks.sync_audiences",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "channels-withdraw-from-audiences": {
        "task": "channels.tasks.withdraw_from_audiences",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "channels-set-flights": {
        "task": "channels.tasks.set_flights",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "channels-pause-flights": {
        "task": "channels.tasks.pause_flights",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "channels-fetch-reports": {
        "task": "channels.tasks.fetch_reports",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "channels-sync-employees": {
        "task": "channels.tasks.sync_employees",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "channels-push-spend-sheet": {
        "task": "channels.tasks.push_spend_sheet",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
}
