"""REST: long work, followed and cancelled."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audiences import jobs
from audiences.access import ANYBODY, RolePermission
from audiences.models import Job


class JobSerializer(serializers.ModelSerializer[Job]):
    """``state``: waiting, running, done, failed or cancelled. ``step`` and ``error`` are for people."""

    class Meta:
        model = Job
        fields = (
            "id",
            "kind",
            "subject",
            "state",
            "step",
            "done",
            "total",
            "result",
            "error",
            "cancel_asked",
            "created_at",
            "started_at",
            "finished_at",
        )
        read_only_fields = fields


def _seen_by(request: Request) -> QuerySet[Job]:
    """Jobs of the kinds this caller's roles may see."""
    kinds = [name for name in jobs.job_kinds.names() if jobs.may_see(request.user, Job(kind=name))]
    return Job.objects.filter(kind__in=kinds)


class JobListView(generics.ListAPIView[Job]):
    """Long work, newest first."""

    permission_classes = (RolePermission,)
    read_roles = write_roles = ANYBODY
    serializer_class = JobSerializer
    queryset = Job.objects.none()
    filterset_fields = ("kind", "state", "subject")

    def get_queryset(self) -> QuerySet[Job]:
        return _seen_by(self.request)


class JobView(generics.RetrieveAPIView[Job]):
    """One piece of long work."""

    permission_classes = (RolePermission,)
    read_roles = write_roles = ANYBODY
    serializer_class = JobSerializer
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        return _seen_by(self.request)


class JobCancelView(generics.GenericAPIView[Job]):
    """Asks the work to stop."""

    permission_classes = (RolePermission,)
    read_roles = write_roles = ANYBODY
    serializer_class = JobSerializer
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        return _seen_by(self.request)

    @extend_schema(
        request=None, responses={202: JobSerializer, 409: OpenApiResponse(description="It has ended.")}
    )
    def post(self, request: Request, pk: int, **kwargs: Any) -> Response:
        job = self.get_object()
        asked = jobs.cancel(job.pk)
        job.refresh_from_db()
        return Response(
            self.get_serializer(job).data,
            status=status.HTTP_202_ACCEPTED if asked else status.HTTP_409_CONFLICT,
        )
