"""Replies judged by the dated platform rules: a country's word opts out, whatever the channel's settings say."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from audiences.vocabulary import Medium, ResponseKind
from channels import platform_rules, sms_replies
from channels.adapters.base import Inbound
from channels.models import Channel


def judged(channel: Channel, events: Sequence[Inbound], on: date) -> list[Inbound]:
    """The events of a channel, with replies that are an opt-out by rule told as opt-outs."""
    if channel.medium != Medium.SMS or not any(event.response == ResponseKind.REPLY for event in events):
        return list(events)
    country = platform_rules.country_of(channel)
    told = platform_rules.rule_values(
        channel.medium, ["opt_out_words"], channel=channel, country=country, on=on
    )
    by_rule = sms_replies.words(told.get("opt_out_words") or ())
    return [
        replace(event, response=ResponseKind.OPT_OUT)
        if event.response == ResponseKind.REPLY
        and sms_replies.opts_out(str(event.detail.get("text", "")), by_rule)
        else event
        for event in events
    ]
