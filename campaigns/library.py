"""The content library: messages, their versions and variants. Frozen words are never touched again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from audiences.models import Brand
from campaigns import content
from campaigns.models import Message, MessageVariant, MessageVersion, Plan


class Frozen(ValueError):
    """The version was approved; the text says to make a new one."""


def create(brand: Brand, medium: str, name: str, user: AbstractUser | None) -> MessageVersion:
    """A message with an empty first version of one variant."""
    with transaction.atomic():
        message = Message.objects.create(brand=brand, medium=medium, name=name)
        version = MessageVersion.objects.create(
            message=message, number=1, created_by_id=user.pk if user else None
        )
        MessageVariant.objects.create(version=version, number=1, name="A")
        return version


def lock(version_id: int) -> MessageVersion:
    """The version, locked, if its words may still change. Raises :class:`Frozen`."""
    version = (
        MessageVersion.objects.select_for_update(of=("self",)).select_related("message").get(pk=version_id)
    )
    if version.frozen_at is not None:
        raise Frozen(
            _("Version %(n)d was approved and stays as it is. Make a new version to change it.")
            % {"n": version.number}
        )
    return version


def write(
    version_id: int, number: int, *, subject: str, text: str, html: str, name: str, weight: Decimal
) -> None:
    """The words of one variant. Forecasts stay valid: they do not hang on words; approvals do."""
    with transaction.atomic():
        lock(version_id)
        MessageVariant.objects.filter(version_id=version_id, number=number).update(
            subject=subject, text=text, html=html, name=name, weight=weight
        )


def set_template(version_id: int, template: str) -> None:
    """The provider's template id, where its platform sends approved templates only."""
    with transaction.atomic():
        lock(version_id)
        MessageVersion.objects.filter(pk=version_id).update(template=template)


def add_variant(version_id: int) -> MessageVariant:
    """Another variant, beginning with the words of the last one."""
    with transaction.atomic():
        version = lock(version_id)
        last = version.variants.order_by("-number").first()
        number = (last.number if last else 0) + 1
        return MessageVariant.objects.create(
            version=version,
            number=number,
            name=chr(ord("A") + min(number - 1, 25)),
            subject=last.subject if last else "",
            text=last.text if last else "",
            html=last.html if last else "",
        )


def remove_variant(version_id: int, number: int) -> None:
    """Take a variant out; the last one stays. Raises :class:`ValueError`."""
    with transaction.atomic():
        version = lock(version_id)
        if version.variants.count() < 2:
            raise ValueError(_("A message needs at least one variant."))
        version.variants.filter(number=number).delete()


def new_version(message: Message, user: AbstractUser | None) -> MessageVersion:
    """The next version, with the newest words; the newest itself when it is not frozen yet."""
    with transaction.atomic():
        Message.objects.select_for_update().get(pk=message.pk)
        last = content.newest(message)
        if last is not None and last.frozen_at is None:
            return last
        number = int(message.versions.aggregate(last=Max("number"))["last"] or 0) + 1
        version = MessageVersion.objects.create(
            message=message,
            number=number,
            template=last.template if last else "",
            created_by_id=user.pk if user else None,
        )
        variants = list(last.variants.all()) if last else [MessageVariant(number=1, name="A")]
        MessageVariant.objects.bulk_create(
            [
                MessageVariant(
                    version=version,
                    number=one.number,
                    name=one.name,
                    weight=one.weight,
                    subject=one.subject,
                    text=one.text,
                    html=one.html,
                )
                for one in variants
            ]
        )
        # Drafts take the newest version: their forecasts rested on the one before.
        Plan.objects.filter(
            campaign__state="draft", campaign__channel_plans__message=message, state=Plan.State.READY
        ).update(state=Plan.State.STALE)
        return version


def archive(message: Message, now: datetime | None) -> None:
    """Out of the choices (or back in, with None); where it is used it stays."""
    Message.objects.filter(pk=message.pk).update(archived_at=now)


def replace(version_id: int, template: str, variants: Sequence[Mapping[str, Any]]) -> None:
    """All words of a version at once; variants are numbered in the order given. Raises :class:`Frozen`."""
    with transaction.atomic():
        version = lock(version_id)
        version.template = template
        version.save(update_fields=["template"])
        version.variants.all().delete()
        MessageVariant.objects.bulk_create(
            [
                MessageVariant(version=version, number=number, **dict(words))
                for number, words in enumerate(variants, 1)
            ]
        )
