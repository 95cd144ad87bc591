"""REST: campaigns as documents, and the steps of their life."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audiences import jobs
from audiences.access import ANYBODY, Role, RolePermission
from audiences.api.jobs import JobSerializer
from audiences.brands import default_brand
from audiences.models import Job
from campaigns import (
    approvals,
    channel_pauses,
    definition,
    differences,
    lifecycle,
    lifecycle_jobs,
    readiness,
    versions,
)
from campaigns.api.documents import DocumentSerializer, plain
from campaigns.models import Approval, Campaign, CampaignVersion
from campaigns.vocabulary import CampaignState

RUNNERS = (Role.MARKETER, Role.APPROVER)


V = TypeVar("V", bound=APIView)


class Conflict(APIException):
    """The campaign's state does not permit it now."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class Guarded:
    """Everybody with a role reads, marketers write."""

    permission_classes: Any = (RolePermission,)
    read_roles: tuple[str, ...] = ANYBODY
    write_roles: tuple[str, ...] = (Role.MARKETER,)


class MissingSerializer(serializers.Serializer[Any]):
    step = serializers.CharField()
    text = serializers.CharField()
    error = serializers.BooleanField()


class SummarySerializer(serializers.ModelSerializer[Campaign]):
    brand = serializers.CharField(source="brand.code", read_only=True)

    class Meta:
        model = Campaign
        fields = (
            "id",
            "name",
            "number",
            "brand",
            "kind",
            "state",
            "state_reason",
            "segment",
            "starts_at",
            "ends_at",
            "zone",
            "currency",
            "budget",
            "version",
            "submitted_at",
            "released_at",
            "finished_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class CampaignSerializer(SummarySerializer):
    """A campaign with its document. Of a released one with an open change, ``document`` is the change."""

    document = serializers.SerializerMethodField()
    missing = serializers.SerializerMethodField(help_text="What stands against submitting it.")
    review = serializers.CharField(read_only=True)

    class Meta(SummarySerializer.Meta):
        fields: Any = (*SummarySerializer.Meta.fields, "review", "document", "missing")
        read_only_fields: Any = fields

    @extend_schema_field(DocumentSerializer)
    def get_document(self, campaign: Campaign) -> dict[str, Any]:
        return versions.working(campaign)

    @extend_schema_field(MissingSerializer(many=True))
    def get_missing(self, campaign: Campaign) -> list[dict[str, Any]]:
        if campaign.state in (CampaignState.FINISHED, CampaignState.REVIEWED):
            return []
        found = readiness.missing(
            versions.working(campaign), now=timezone.now(), released=campaign.state in versions.RELEASED
        )
        return [asdict(entry) for entry in found]


class Campaigns(Guarded, generics.ListAPIView[Campaign]):
    """All campaigns, newest first."""

    serializer_class = SummarySerializer
    queryset = Campaign.objects.select_related("brand")
    filterset_fields = ("state", "kind", "number", "segment")

    @extend_schema(
        operation_id="campaigns_create", request=DocumentSerializer, responses={201: CampaignSerializer}
    )
    def post(self, request: Request) -> Response:
        """Make a draft from a document; what is left out stays to be filled in."""
        asked = DocumentSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        entered = plain(asked.validated_data)
        entered.setdefault("brand", default_brand().code)
        entered.setdefault("zone", settings.TIME_ZONE)
        entered.setdefault("currency", settings.DEFAULT_CURRENCY)
        if not entered["phases"]:
            entered = _with_one_phase(definition.with_runs(entered))
        try:
            campaign = versions.create(entered, request.user)  # type: ignore[arg-type]
        except definition.DefinitionError as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(CampaignSerializer(campaign).data, status=status.HTTP_201_CREATED)


def _with_one_phase(document: definition.Document) -> definition.Document:
    starts_at, ends_at = (
        definition.as_moment(document["starts_at"]),
        definition.as_moment(document["ends_at"]),
    )
    return definition.with_flight(document, starts_at, ends_at)


class OneCampaign(Guarded, APIView):
    """One campaign and its document."""

    @extend_schema(operation_id="campaigns_retrieve", responses=CampaignSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(CampaignSerializer(_find(pk)).data)

    @extend_schema(operation_id="campaigns_update", request=DocumentSerializer, responses=CampaignSerializer)
    def put(self, request: Request, pk: int) -> Response:
        """Put another document in the place of the present one; of a released campaign it is a change to approve."""
        return self._save(request, pk, partial=False)

    @extend_schema(
        operation_id="campaigns_partial_update", request=DocumentSerializer, responses=CampaignSerializer
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Change the given parts of the document. A list, such as ``matrix``, is replaced as a whole."""
        return self._save(request, pk, partial=True)

    def _save(self, request: Request, pk: int, partial: bool) -> Response:
        asked = DocumentSerializer(data=request.data, partial=partial)
        asked.is_valid(raise_exception=True)
        _find(pk)
        try:
            with versions.editing(pk, request.user, timezone.now()) as (_campaign, document):  # type: ignore[arg-type]
                # What the caller does not say about money, brand and zone stays as it is.
                document.update(plain(asked.validated_data))
                if asked.validated_data.keys() & {"cadence", "starts_at"}:
                    document.update(definition.with_runs(document))
        except versions.NotEditable as error:
            raise Conflict(str(error)) from error
        except definition.DefinitionError as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(CampaignSerializer(_find(pk)).data)

    @extend_schema(operation_id="campaigns_destroy", responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Remove a draft that was never submitted."""
        _do(lambda: lifecycle.delete(_find(pk)))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _find(pk: int) -> Campaign:
    return get_object_or_404(Campaign.objects.select_related("brand", "segment"), pk=pk)


def _do(step: Callable[[], Any]) -> Any:
    """A step of the lifecycle, with its refusals as HTTP answers."""
    try:
        return step()
    except lifecycle.NotReady as error:
        told: Any = {
            "detail": _("Something is missing before it can be submitted."),
            "missing": [asdict(entry) for entry in error.missing],
        }
        refused = Conflict()
        refused.detail = told  # as it is: truth values stay truth values
        raise refused from error
    except lifecycle.IllegalTransition as error:
        raise Conflict({"detail": str(error)}) from error
    except approvals.NotPermitted as error:
        raise PermissionDenied(str(error)) from error


# Steps --------------------------------------------------------------------------------------------


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=200)


class NothingSerializer(serializers.Serializer[Any]):
    """An empty object."""


class DecisionSerializer(serializers.Serializer[Any]):
    step = serializers.ChoiceField(choices=Approval.Step.choices, default=Approval.Step.APPROVER)
    comment = serializers.CharField(required=False, allow_blank=True, default="")
    version = serializers.IntegerField(
        help_text="Number of the version decided on: never another one by accident."
    )


class ReviewSerializer(serializers.Serializer[Any]):
    review = serializers.CharField()


REFUSED = {409: OpenApiResponse(description="The campaign's state does not permit it; detail says why.")}


class Step(Guarded, APIView):
    """One step of a campaign's life. Answers with the campaign as it is afterwards."""

    serializer_class: type[serializers.Serializer[Any]] = NothingSerializer

    def post(self, request: Request, pk: int) -> Response:
        asked = self.serializer_class(data=request.data)
        asked.is_valid(raise_exception=True)
        campaign = _find(pk)
        _do(lambda: self.take(campaign, request.user, asked.validated_data))
        return Response(CampaignSerializer(_find(pk)).data)

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        raise NotImplementedError


def _step(name: str, request: Any) -> Callable[[type[V]], type[V]]:
    told = extend_schema(
        operation_id=f"campaigns_{name}", request=request, responses={200: CampaignSerializer, **REFUSED}
    )
    return extend_schema_view(post=told)


@_step("submit", NothingSerializer)
class Submit(Step):
    """Ask for approval of a draft, or of the change of a released campaign."""

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        lifecycle.submit(campaign, user, timezone.now())


@_step("withdraw", NothingSerializer)
class Withdraw(Step):
    """Take back what was submitted, to edit it again."""

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        lifecycle.withdraw(campaign, user, timezone.now())


class Deciding(Step):
    write_roles = (Role.APPROVER, Role.FINANCE)
    serializer_class = DecisionSerializer

    def version(self, campaign: Campaign, entered: dict[str, Any]) -> CampaignVersion:
        return get_object_or_404(campaign.versions, number=entered["version"])


@_step("approve", DecisionSerializer)
class Approve(Deciding):
    """Take one step of the approval; the last one starts the release."""

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        version = self.version(campaign, entered)
        lifecycle.approve(version, user, entered["step"], entered["comment"], timezone.now())


@_step("reject", DecisionSerializer)
class Reject(Deciding):
    """Send a version back to its makers; the comment says why."""

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        version = self.version(campaign, entered)
        lifecycle.reject(version, user, entered["step"], entered["comment"], timezone.now())


@_step("pause", ReasonSerializer)
class Pause(Step):
    """Hold everything from the next claim on."""

    write_roles = RUNNERS
    serializer_class = ReasonSerializer

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        lifecycle.pause(campaign, user, timezone.now(), entered["reason"])


@_step("resume", NothingSerializer)
class Resume(Step):
    """Go on with what is not overdue."""

    write_roles = RUNNERS

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        lifecycle.resume(campaign, user, timezone.now())


class ChannelStep(Guarded, APIView):
    """One channel of a running campaign, while the others go on. Answers with the campaign as it is afterwards."""

    write_roles = RUNNERS

    def post(self, request: Request, pk: int, channel: int) -> Response:
        campaign = _find(pk)
        get_object_or_404(campaign.channel_plans, channel_id=channel)
        _do(lambda: self.take(campaign, channel))
        return Response(CampaignSerializer(_find(pk)).data)

    def take(self, campaign: Campaign, channel: int) -> None:
        raise NotImplementedError


@_step("pause_channel", NothingSerializer)
class PauseChannel(ChannelStep):
    """Hold one channel of the campaign from the next claim on."""

    def take(self, campaign: Campaign, channel: int) -> None:
        channel_pauses.pause(campaign, channel, timezone.now())


@_step("resume_channel", NothingSerializer)
class ResumeChannel(ChannelStep):
    """Let one channel go on with what is not overdue."""

    def take(self, campaign: Campaign, channel: int) -> None:
        channel_pauses.resume(campaign, channel, timezone.now())


@_step("stop", ReasonSerializer)
class Stop(Step):
    """End it for good: what is unsent is let go."""

    write_roles = ANYBODY
    serializer_class = ReasonSerializer

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        lifecycle.stop(campaign, user, entered["reason"], timezone.now())


@_step("review", ReviewSerializer)
class Review(Step):
    """Close a finished campaign with what was learned."""

    serializer_class = ReviewSerializer

    def take(self, campaign: Campaign, user: Any, entered: dict[str, Any]) -> None:
        lifecycle.review(campaign, user, entered["review"], timezone.now())


class Duplicate(Guarded, APIView):
    """A new draft with the same definition; it sends nothing."""

    @extend_schema(operation_id="campaigns_duplicate", request=None, responses={201: CampaignSerializer})
    def post(self, request: Request, pk: int) -> Response:
        copy = versions.duplicate(_find(pk), request.user)  # type: ignore[arg-type]
        return Response(CampaignSerializer(copy).data, status=status.HTTP_201_CREATED)


# Versions -----------------------------------------------------------------------------------------


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    decided_by = serializers.CharField(source="decided_by.username", read_only=True)

    class Meta:
        model = Approval
        fields = ("step", "decision", "comment", "decided_by", "decided_at")


class VersionSerializer(serializers.ModelSerializer[CampaignVersion]):
    made_by = serializers.CharField(source="made_by.username", read_only=True)
    approvals = ApprovalSerializer(many=True, read_only=True)
    changes = serializers.SerializerMethodField(help_text="What differs from the version before, in words.")

    class Meta:
        model = CampaignVersion
        fields = ("number", "state", "plan", "made_by", "made_at", "definition", "changes", "approvals")

    def get_changes(self, version: CampaignVersion) -> list[str]:
        return [text for _step, text in differences.sentences(version.difference, version.definition)]


class Versions(Guarded, generics.ListAPIView[CampaignVersion]):
    """Versions of a campaign, newest first, with what was decided on them."""

    serializer_class = VersionSerializer
    write_roles = ()

    def get_queryset(self) -> QuerySet[CampaignVersion]:
        if getattr(self, "swagger_fake_view", False):
            return CampaignVersion.objects.none()
        found = CampaignVersion.objects.filter(campaign=_find(self.kwargs["pk"]))
        return found.select_related("made_by").prefetch_related("approvals__decided_by")


# Forecast -----------------------------------------------------------------------------------------


class StartPlan(Guarded, APIView):
    """Start the forecast; the job tells when it is ready."""

    @extend_schema(operation_id="campaigns_plan", request=None, responses={202: JobSerializer})
    def post(self, request: Request, pk: int) -> Response:
        campaign = _find(pk)
        subject = f"campaign:{campaign.pk}"
        unfinished = (Job.State.WAITING, Job.State.RUNNING)
        job = Job.objects.filter(kind=lifecycle_jobs.PLAN_JOB, subject=subject, state__in=unfinished).first()
        job = job or jobs.start(lifecycle_jobs.PLAN_JOB, subject, {"campaign": campaign.pk}, request.user)
        return Response(JobSerializer(job).data, status=status.HTTP_202_ACCEPTED)
