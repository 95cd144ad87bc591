"""Why a person gets less than the target: one cause for each shortfall, the first that applies.

The order is from what nobody can help, over what a person has to be asked for, to what the campaign decided:
somebody who opted out on a channel that is stopped is short because the channel is stopped.
"""

import numpy as np

from campaigns.vocabulary import Cause

ORDER: tuple[str, ...] = (
    "",  # none
    Cause.CHANNEL_STOPPED,
    Cause.CONTENT,
    Cause.OPTED_OUT,
    Cause.NO_IDENTITY,
    Cause.NO_CONSENT,
    Cause.DEADLINE,  # the round is over before the campaign could begin
    Cause.HOURS,
    Cause.PLATFORM_RULE,
    Cause.PRESSURE,
    Cause.CAPACITY,
    Cause.BUDGET,
    Cause.CAP,
    Cause.PRICE,
)
CODE: dict[str, int] = {cause: code for code, cause in enumerate(ORDER)}
NAMES = np.array(ORDER, dtype=object)
