"""Replacing a channel's credentials while it works."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from audiences.access import Role, needs
from channels import rotation
from channels.forms import RotationForm
from channels.models import Channel


@needs(Role.CHANNEL_ADMIN)
def rotate(request: HttpRequest, pk: int) -> HttpResponse:
    """New secrets, tested before they take force; the old ones stay when the test fails."""
    channel = get_object_or_404(Channel.objects.select_related("brand"), pk=pk)
    secrets = rotation.secrets_of(channel)
    form = RotationForm(secrets, request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            done = rotation.rotate(
                channel, form.cleaned_data, timezone.now(), force=form.cleaned_data["force"]
            )
        except ValidationError as error:
            form.add_error(None, [text for texts in _texts(error) for text in texts])
        else:
            if done.changed:
                told = {"answer": done.checked.text}
                if done.checked.ok:
                    messages.success(request, _("The new credentials hold: %(answer)s") % told)
                else:
                    messages.warning(
                        request, _("The new credentials hold although the test failed: %(answer)s") % told
                    )
                return redirect("channels:channel", pk)
            form.add_error(
                None,
                _("The test failed, and the old credentials stay: %(answer)s")
                % {"answer": done.checked.text},
            )
        status = 422
    shown = {"channel": channel, "form": form, "secrets": secrets}
    return render(request, "channels/rotate.html", shown, status=status)


def _texts(error: ValidationError) -> list[list[str]]:
    return list(error.message_dict.values()) if hasattr(error, "error_dict") else [error.messages]
