"""What is wrong with a running installation, in words, each with what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from campaigns import pressure
from campaigns.queries import doctor as queries

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Question:
    """``broken``: an invariant that the product promises; otherwise something stuck that a person may mend."""

    name: str
    sql: str
    text: str | Promise
    hint: str | Promise
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    question: Question
    count: int
    examples: Sequence[Sequence[Any]]


QUESTIONS = (
    Question(
        "claimed_without_attempt",
        queries.CLAIMED_WITHOUT_ATTEMPT,
        _("touches are claimed and no attempt is under way"),
        _("This must not happen. Keep the database as it is and report it."),
        True,
    ),
    Question(
        "attempt_and_touch_differ",
        queries.ATTEMPT_WITHOUT_TOUCH_STATE,
        _("touches do not stand as their last attempt says"),
        _("This must not happen. Keep the database as it is and report it."),
        True,
    ),
    Question(
        "place_missing",
        queries.PLACE_MISSING,
        _("contacts are not counted in the person's contact state"),
        _("This must not happen. Keep the database as it is and report it."),
        True,
    ),
    Question(
        "place_too_many",
        queries.PLACE_TOO_MANY,
        _("failed attempts still take a place in the person's contact state"),
        _("This must not happen. Keep the database as it is and report it."),
        True,
    ),
    Question(
        "leases_adrift",
        queries.LEASES_ADRIFT,
        _("budgets have lent out another sum than leases and running attempts hold"),
        _("This must not happen. Keep the database as it is and report it."),
        True,
    ),
    Question(
        "overspent",
        queries.OVERSPENT,
        _("budgets are overspent"),
        _("A provider billed more than was reserved. Raise the budget, or the price of the channel."),
    ),
    Question(
        "stuck_claims",
        queries.STUCK_CLAIMS,
        _("claims of dead workers wait for the sweep"),
        _("Is a worker running, and beat? Or run: manage.py dispatch --once"),
    ),
    Question(
        "overdue",
        queries.OVERDUE,
        _("campaigns have touches that are due for more than ten minutes"),
        _("The channel may be slow or backed off (see its health page), or no worker runs."),
    ),
    Question(
        "past_deadline",
        queries.PAST_DEADLINE,
        _("campaigns have open touches past their deadline"),
        _("Is a worker running, and beat? Or run: manage.py dispatch --once"),
    ),
    Question(
        "finished_open",
        queries.FINISHED_OPEN,
        _("finished campaigns have open touches"),
        _("Their wind-down has not ended. Is a worker running? See the campaign's jobs."),
    ),
    Question(
        "inbox_waiting",
        queries.INBOX_WAITING,
        _("channels have events that nobody has drained for five minutes"),
        _("Is a worker running, and beat? Or run: manage.py drain"),
    ),
    Question(
        "inbox_poison",
        queries.INBOX_POISON,
        _("channels have events that could not be handled"),
        _("Open the channel's inbox, read the error, mend it and replay them."),
    ),
    Question(
        "receipts_of_strangers",
        queries.INBOX_STRANGE,
        _("channels were told receipts of messages that are not ours (24 h)"),
        _("Another tool may use the same account: import its sends, so that they count in pressure."),
    ),
    Question(
        "channels_stopped",
        queries.CHANNELS_STOPPED,
        _("channels are stopped by an error"),
        _("Open the channel, mend what it says, test it and resume it."),
    ),
    Question(
        "rules_waiting",
        queries.RULES_WAITING,
        _("rules of the contact policy are not in force yet"),
        _("They take force when recent contacts are rebuilt. Is a worker running, and beat?"),
    ),
    Question(
        "held_long",
        queries.HELD_LONG,
        _("channels have messages that nobody has confirmed for two days"),
        _("Remind the employees, or import what was done."),
    ),
)


def examine(now: datetime) -> list[Finding]:
    """What is wrong, broken promises first."""
    params = {"now": now, "kept": timedelta(hours=pressure.kept_hours(now))}
    found = []
    for question in sorted(QUESTIONS, key=lambda question: not question.broken):
        count, examples = queries.ask(question.sql, params, SHOWN)
        if count:
            found.append(Finding(question, count, examples))
    return found
