"""The form of a push destination. Address and secret are written and never shown."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from audiences.vocabulary import Medium
from channels.models import Channel, PushDestination
from channels.pushing import checked_address, mailboxes

Kind = PushDestination.Kind
KEPT = _("Kept. Leave empty to keep it; write to replace it.")
MOST_MAILBOXES = 50
SIGNED = (Kind.DINGTALK, Kind.FEISHU)


class PushForm(forms.ModelForm[PushDestination]):
    """What a destination of one kind is; the fields of the other kinds are left out."""

    address = forms.CharField(
        label=_("Address of the robot's webhook"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text=_(
            "As the group's settings show it. Whoever knows it can write to the group: it is kept secret."
        ),
    )
    secret = forms.CharField(
        label=_("Signing secret"),
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text=_("From the robot's security settings, “sign” 加签 / 签名校验. Empty: it does not sign."),
    )

    class Meta:
        model = PushDestination
        fields = ("name", "keyword", "channel", "recipients", "at", "language")
        widgets = {  # noqa: RUF012
            "at": forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
            "recipients": forms.Textarea(attrs={"rows": 4}),
        }
        help_texts = {  # noqa: RUF012
            "name": _("As people know the group, such as “Media buying, Shanghai”."),
            "keyword": _("If the robot only takes messages that hold a certain word. Empty: none."),
            "channel": _("The connected email channel whose mail server sends the letter."),
            "recipients": _("Mailboxes, one a line."),
            "at": _("Of the installation's time zone. Missed, it is sent later the same day."),
        }

    def __init__(self, kind: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        unfit = ("address", "secret", "keyword") if kind == Kind.EMAIL else ("channel", "recipients")
        for name in unfit:
            del self.fields[name]
        if kind not in SIGNED:
            self.fields.pop("secret", None)
        for name in ("address", "secret"):
            if name in self.fields and self.instance.credentials.get(name):
                self.fields[name].help_text = KEPT
                self.fields[name].required = False
        if kind == Kind.EMAIL:
            found = Channel.objects.filter(medium=Medium.EMAIL).exclude(state=Channel.State.ARCHIVED)
            self.fields["channel"].queryset = found.exclude(adapter="manual")  # type: ignore[attr-defined]
            self.fields["channel"].required = self.fields["recipients"].required = True

    def clean_address(self) -> str:
        told = str(self.cleaned_data["address"]).strip()
        return checked_address(self.kind, told) if told else ""

    def clean_recipients(self) -> str:
        found = mailboxes(self.cleaned_data["recipients"])
        for one in found:
            try:
                validate_email(one)
            except ValidationError:
                raise ValidationError(gettext("“%(value)s” is no mailbox.") % {"value": one}) from None
        if len(found) > MOST_MAILBOXES:
            raise ValidationError(
                gettext("At most %(n)d mailboxes; use a mailing list for more.") % {"n": MOST_MAILBOXES}
            )
        return "\n".join(found)

    def filled(self) -> PushDestination:
        """The destination as written, not saved; a secret left empty stays what it was."""
        destination = self.save(commit=False)
        destination.kind = self.kind
        kept = dict(destination.credentials)
        for name in ("address", "secret"):
            if self.cleaned_data.get(name):
                kept[name] = self.cleaned_data[name]
        destination.credentials = kept
        return destination
