"""Who gets which touch: the plan of a campaign, its certificate and its prices."""

from campaigns.planner.errors import PlanError
from campaigns.planner.explain import Explanation, explain
from campaigns.planner.plan import make_plan

__all__ = ["Explanation", "PlanError", "explain", "make_plan"]
