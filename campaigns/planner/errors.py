"""Why a plan cannot be made."""


class PlanError(ValueError):
    """Something stands against planning or releasing; the text says what to do about it."""
