"""When beat wakes the tasks of campaigns. What nobody picked up before the next round is dropped."""

from typing import Any


def _each(task: str, seconds: float) -> dict[str, Any]:
    return {
        "task": f"campaigns.tasks.{task}",
        "schedule": seconds,
        "options": {"expires": max(seconds, 10.0)},
    }


BEAT: dict[str, dict[str, Any]] = {
    "campaigns-tick": _each("tick", 2.0),
    "campaigns-drain": _each("drain", 2.0),
    "campaigns-poll": _each("poll", 10.0),
    "campaigns-recall": _each("recall", 5.0),
    "campaigns-employees": _each("follow_employees", 30.0),
    "campaigns-broadcast": _each("broadcast", 10.0),
    "campaigns-turn": _each("turn_campaigns", 10.0),
    "campaigns-rules": _each("watch_rules", 10.0),
    "campaigns-policy": _each("bring_policy_into_force", 15.0),
    "campaigns-sweep": _each("sweep", 20.0),
    "campaigns-orders": _each("follow_orders", 20.0),
    "campaigns-steer": _each("steer", 30.0),
    "campaigns-open": _each("open_triggered", 60.0),
    "campaigns-admit": _each("admit_joiners", 600.0),
    "campaigns-stages": _each("follow_stages", 300.0),
}
