"""What the members of a running campaign have already, when a changed definition gives them more."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from campaigns.planner.calendar import Times
from campaigns.planner.limits import FAR
from campaigns.planner.people import People
from campaigns.planner.spec import STAGES, Spec
from campaigns.queries import plan as queries


@dataclass(frozen=True, slots=True)
class Given:
    """People × cells: the highest ordinal there is, and how many touches are kept. People × channels:

    when the last one is due (−FAR: there is none).
    """

    ordinal: NDArray[np.uint8]
    kept: NDArray[np.uint8]
    last: Times


def nothing(spec: Spec, people: People) -> Given:
    """Of people who are new."""
    shape = (len(people), len(spec.cells))
    return Given(
        np.zeros(shape, dtype=np.uint8),
        np.zeros(shape, dtype=np.uint8),
        np.full((len(people), len(spec.channels)), -FAR, dtype=np.int64),
    )


def as_at_entry(spec: Spec, people: People) -> People:
    """Members with the stage, arm and zone they entered with: a change never reassigns them."""
    rows, names = queries.fetch_members(spec.campaign.pk, STAGES, [arm.name for arm in spec.arms])
    both = np.isin(people.ids, rows["id"], assume_unique=True)
    people = people.take(both)
    rows = rows[np.searchsorted(rows["id"], people.ids)]
    zones = tuple(sorted(set(names.values())))
    place = {code: zones.index(name) for code, name in names.items()}
    codes, index = np.unique(rows["zone"], return_inverse=True)
    zone = (
        np.array([place[int(code)] for code in codes], dtype=np.int16)[index.reshape(-1)]
        if len(rows)
        else people.zone
    )
    return replace(
        people,
        stage=rows["stage"].astype(np.int8),
        arm=rows["arm"].astype(np.int8),
        zone=zone,
        zones=zones,
        held_out=np.zeros(len(people), dtype=bool),
    )


def read(spec: Spec, people: People) -> Given:
    """What these members have."""
    found = nothing(spec, people)
    rows = queries.fetch_given(spec.campaign.pk, spec.approved())
    person = np.searchsorted(people.ids, rows["customer"])
    known = person < len(people)
    known[known] = people.ids[person[known]] == rows["customer"][known]
    rows, person = rows[known], person[known]
    channels = {channel.id: n for n, channel in enumerate(spec.channels)}
    cells = {(spec.channels[cell.channel].id, cell.round): n for n, cell in enumerate(spec.cells)}
    for channel_id, number in channels.items():
        own = rows["channel"] == channel_id
        np.maximum.at(found.last[:, number], person[own], rows["due"][own])
    for (channel_id, round_), number in cells.items():
        own = (rows["channel"] == channel_id) & (rows["round"] == round_)
        found.ordinal[person[own], number] = rows["ordinal"][own]
        found.kept[person[own], number] = rows["kept"][own]
    return found
