"""Whether a channel works: active, paused by a person, stopped by an error, archived."""

from django.utils.translation import gettext as _

from channels.models import Channel

State = Channel.State


def pause(channel: Channel, reason: str = "") -> bool:
    """Nothing more is handed over; what comes in is still stored, and who must leave an audience is taken out."""
    return _move(channel, {State.ACTIVE, State.STOPPED}, State.PAUSED, reason)


def resume(channel: Channel) -> bool:
    """Also after an error: whoever resumes has looked."""
    return _move(channel, {State.PAUSED, State.STOPPED}, State.ACTIVE, "")


def stop(channel: Channel, reason: str) -> bool:
    """An error that a person must mend first (a refused log-in, a banned sender). Called by dispatch."""
    return _move(channel, {State.ACTIVE}, State.STOPPED, reason)


def archive(channel: Channel) -> bool:
    """Its rows stay; nobody can choose it any more."""
    return _move(channel, {State.ACTIVE, State.PAUSED, State.STOPPED}, State.ARCHIVED, "")


def restore(channel: Channel) -> bool:
    """Back from the archive, paused: nothing starts by itself."""
    return _move(channel, {State.ARCHIVED}, State.PAUSED, _("Taken out of the archive"))


def _move(channel: Channel, before: set[State], after: State, reason: str) -> bool:
    """Conditional, so that two people who press at once do it once. The adapter is not opened anew."""
    moved = Channel.objects.filter(pk=channel.pk, state__in=before).update(
        state=after, state_reason=reason[:254]
    )
    if moved:
        channel.state, channel.state_reason = after, reason[:254]
    return bool(moved)


ACTIONS = {"pause": pause, "resume": resume, "archive": archive, "restore": restore}
