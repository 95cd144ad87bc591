"""Long work: run once, watched, cancelled, taken over when a worker dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences import jobs
from audiences.access import Role
from audiences.models import Job, Tag
from audiences.queries import jobs as queries
from config.models import User
from tests.waiting import until


@pytest.fixture
def kind() -> Iterator[Callable[..., str]]:
    """kind(function) registers a job kind for this test only and gives its name."""
    made: list[str] = []

    def register(run: Callable[[Job], Mapping[str, Any] | None], **options: Any) -> str:
        name = f"test-{len(made)}"
        jobs.job_kind(name, run, **options)
        made.append(name)
        return name

    yield register
    for name in made:
        del jobs.job_kinds._entries[name]


@pytest.fixture
def in_thread() -> Iterator[Callable[..., threading.Thread]]:
    """in_thread(function, …) runs it on a connection of its own, as a worker would."""
    threads: list[threading.Thread] = []

    def begin(function: Callable[..., Any], *arguments: Any) -> threading.Thread:
        def work() -> None:
            try:
                function(*arguments)
            finally:
                connections.close_all()

        thread = threading.Thread(target=work)
        thread.start()
        threads.append(thread)
        return thread

    yield begin
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def make(kind: str, **fields: Any) -> Job:
    return Job.objects.create(kind=kind, **fields)


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


# Run once ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_work_runs_once_however_many_workers_are_woken_for_it(kind: Any, in_thread: Any) -> None:
    def work(job: Job) -> Mapping[str, Any]:
        Tag.objects.create(name=f"ran {time.monotonic_ns()}")
        time.sleep(0.2)
        return {"rows": 7}

    job = make(kind(work))
    for thread in [in_thread(jobs.run, job.pk) for _n in range(4)]:
        thread.join(30)
    job.refresh_from_db()
    assert (job.state, job.result, job.attempts) == ("done", {"rows": 7}, 1)
    assert Tag.objects.filter(name__startswith="ran").count() == 1
    assert jobs.run(job.pk) is None  # a message delivered again finds nothing to do


@pytest.mark.django_db(transaction=True)
def test_a_worker_whose_lease_was_taken_writes_nothing_more(kind: Any, in_thread: Any) -> None:
    first, second = threading.Event(), threading.Event()
    seen: list[str] = []

    def work(job: Job) -> Mapping[str, Any]:
        if not seen:
            seen.append("first")
            first.set()
            assert second.wait(15)
            try:
                assert until(lambda: jobs.report(job, 1, 2))
            except jobs.LeaseLost:
                seen.append("first was told")
                raise
        seen.append("second")
        return {"by": "second"}

    job = make(kind(work))
    slow = in_thread(jobs.run, job.pk)
    assert first.wait(15)
    while True:  # the renewing thread may be faster than we are
        expire(job)
        if job.pk in queries.to_wake(jobs.LEASE):
            break
    done = jobs.run(job.pk)
    assert done is not None
    assert (done.state, done.attempts) == ("done", 2)
    second.set()
    slow.join(30)
    done.refresh_from_db()
    assert (done.state, done.result) == ("done", {"by": "second"})
    assert seen == ["first", "second", "first was told"]


# Watched ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_progress_is_seen_while_the_work_is_inside_one_transaction(kind: Any, in_thread: Any) -> None:
    seen = threading.Event()

    def work(job: Job) -> None:
        with transaction.atomic():
            Tag.objects.create(name="not committed")
            jobs.report(job, 40, 100, "Loading rows")
            assert seen.wait(15)

    job = make(kind(work))
    thread = in_thread(jobs.run, job.pk)
    assert until(lambda: Job.objects.filter(pk=job.pk, done=40, total=100, step="Loading rows").exists())
    assert not Tag.objects.exists()
    seen.set()
    thread.join(30)
    job.refresh_from_db()
    assert (job.state, job.done, job.total) == ("done", 40, 100)


@pytest.mark.django_db(transaction=True)
def test_a_million_reports_cost_less_than_a_few_seconds_and_write_a_row_a_second(kind: Any) -> None:
    def work(job: Job) -> None:
        for n in range(1_000_000):
            jobs.report(job, n, 1_000_000)

    begun = time.monotonic()
    job = jobs.run(make(kind(work)).pk)
    assert job is not None
    assert job.state == "done"
    assert time.monotonic() - begun < 10


# Cancelled --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_cancel_interrupts_even_one_long_statement(kind: Any, in_thread: Any) -> None:
    def work(job: Job) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            Tag.objects.create(name="half done")
            cursor.execute("SELECT pg_sleep(120)")

    job = make(kind(work))
    begun = time.monotonic()
    thread = in_thread(jobs.run, job.pk)
    assert until(lambda: Job.objects.get(pk=job.pk).state == "running")
    assert jobs.cancel(job.pk)
    thread.join(30)
    job.refresh_from_db()
    assert (job.state, job.error) == ("cancelled", "")
    assert job.finished_at is not None
    assert time.monotonic() - begun < 20
    assert not Tag.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_work_that_is_told_to_stop_may_tidy_up_undisturbed(kind: Any, in_thread: Any) -> None:
    def work(job: Job) -> None:
        try:
            assert until(lambda: jobs.report(job), 20)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(2.5)")
            Tag.objects.create(name="tidied up")

    job = make(kind(work))
    thread = in_thread(jobs.run, job.pk)
    assert until(lambda: Job.objects.get(pk=job.pk).state == "running")
    jobs.cancel(job.pk)
    thread.join(30)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert Tag.objects.filter(name="tidied up").exists()


@pytest.mark.django_db
def test_a_job_cancelled_while_it_waits_never_runs(kind: Any) -> None:
    job = make(kind(lambda job: {"ran": True}))
    assert jobs.cancel(job.pk)
    assert jobs.run(job.pk) is None
    job.refresh_from_db()
    assert (job.state, job.result) == ("cancelled", {})
    assert not jobs.cancel(job.pk)


# Failing ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_failure_tells_people_what_the_work_said(kind: Any) -> None:
    def work(job: Job) -> None:
        raise jobs.JobFailed("Line 3 has no phone. Mend it and load the file again.")

    job = jobs.run(make(kind(work)).pk)
    assert job is not None
    assert (job.state, job.error) == ("failed", "Line 3 has no phone. Mend it and load the file again.")


@pytest.mark.django_db
def test_an_unexpected_error_is_named_and_undoes_what_the_work_wrote(kind: Any) -> None:
    def work(job: Job) -> None:
        Tag.objects.create(name="half done")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")

    job = jobs.run(make(kind(work)).pk)
    assert job is not None
    assert job.state == "failed"
    assert "division by zero" in job.error
    assert not Tag.objects.exists()


@pytest.mark.django_db
def test_run_now_raises_what_went_wrong_and_needs_no_queue(kind: Any) -> None:
    def work(job: Job) -> Mapping[str, Any]:
        if job.arguments["file"] == "empty.csv":
            raise jobs.JobFailed("The file is empty.")
        jobs.report(job, 1, 1, "Done soon")
        return {"rows": 1}

    name = kind(work)
    told: list[tuple[int, str]] = []
    done = jobs.run_now(
        name, "import:1", {"file": "a.csv"}, progress=lambda job: told.append((job.done, job.step))
    )
    assert (done.state, done.result, told) == ("done", {"rows": 1}, [(1, "Done soon")])
    with pytest.raises(jobs.JobFailed, match=r"The file is empty\."):
        jobs.run_now(name, arguments={"file": "empty.csv"})


@pytest.mark.django_db
def test_a_kind_nobody_registered_is_refused_at_once() -> None:
    with pytest.raises(KeyError, match="no job kind 'nonsense'"):
        jobs.start("nonsense")


# A worker dies ----------------------------------------------------------------------------------

DIES = """
import django, sys, time
django.setup()
from audiences import jobs
from audiences.models import Tag
def work(job):
    Tag.objects.create(name="begun by the first")
    print("begun", flush=True)
    time.sleep(60)
jobs.job_kind("test-0", work)
jobs.run(int(sys.argv[1]))
"""


@pytest.mark.django_db(transaction=True)
def test_a_job_of_a_killed_worker_is_begun_again_by_another(kind: Any) -> None:
    job = make(kind(lambda job: {"by": "the second"}))
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    worker = subprocess.Popen(
        [sys.executable, "-c", DIES, str(job.pk)],
        env=os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.test_settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "begun\n"
        assert jobs.run(job.pk) is None  # it is alive: nobody else may have the job
        worker.send_signal(signal.SIGKILL)
    finally:
        worker.kill()
        worker.wait()
    assert jobs.sweep()["woken"] == 0  # its lease still runs
    expire(job)
    assert jobs.sweep()["woken"] == 1
    done = jobs.run(job.pk)
    assert done is not None
    assert (done.state, done.result, done.attempts) == ("done", {"by": "the second"}, 2)
    assert Tag.objects.filter(name="begun by the first").count() == 1


@pytest.mark.django_db
def test_work_that_took_three_workers_with_it_is_given_up(kind: Any) -> None:
    job = make(kind(lambda job: {}))
    for _n in range(jobs.TRIES):
        assert queries.claim(job.pk, jobs.LEASE, jobs.TRIES)
        expire(job)
    assert jobs.sweep() == {"woken": 0, "given_up": 1}
    job.refresh_from_db()
    assert job.state == "failed"
    assert "stopped 3 times" in job.error


@pytest.mark.django_db
def test_a_stop_asked_of_a_worker_that_died_cancels_the_job(kind: Any) -> None:
    job = make(kind(lambda job: {}))
    assert queries.claim(job.pk, jobs.LEASE, jobs.TRIES)
    assert jobs.cancel(job.pk)
    expire(job)
    jobs.sweep()
    job.refresh_from_db()
    assert job.state == "cancelled"


@pytest.mark.django_db
def test_a_job_nobody_was_woken_for_is_woken_once_in_a_lease(kind: Any) -> None:
    make(kind(lambda job: {}))
    assert jobs.sweep()["woken"] == 1
    assert jobs.sweep()["woken"] == 0


# Through the queue ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_started_job_reaches_a_worker_through_the_queue_after_the_commit(kind: Any) -> None:
    from celery.contrib.testing.worker import start_worker

    from config import queue
    from config.celery import app

    queue.install("default")
    name = kind(lambda job: {"hello": job.arguments["name"]})
    with start_worker(app, pool="threads", concurrency=1, perform_ping_check=False, shutdown_timeout=20):
        with transaction.atomic():
            job = jobs.start(name, "greeting:1", {"name": "Wang"})
            time.sleep(0.5)
            assert Job.objects.get(pk=job.pk).state == "waiting"
        assert until(lambda: Job.objects.get(pk=job.pk).state == "done", 30)
    assert Job.objects.get(pk=job.pk).result == {"hello": "Wang"}
    app.pool.force_close_all()  # else its sessions hold the test database
    app.close()


# On the screen ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_polling_stops_when_the_job_has_ended(kind: Any, as_marketer: Client) -> None:
    job = make(kind(lambda job: {"url": "/campaigns/"}), state="running", done=1, total=2, step="Counting")
    url = reverse("audiences:job_progress", args=[job.pk])
    running = as_marketer.get(url)
    assert running.status_code == 200
    assert 'hx-trigger="every 2s"' in running.content.decode()
    Job.objects.filter(pk=job.pk).update(
        state="done", result={"url": "/campaigns/"}, finished_at=timezone.now()
    )
    ended = as_marketer.get(url)
    assert ended.status_code == 286
    assert ended["HX-Trigger"] == "job-finished"
    assert "every 2s" not in ended.content.decode()
    assert 'href="/campaigns/"' in ended.content.decode()


@pytest.mark.django_db
def test_a_job_never_leads_to_another_site(kind: Any, as_marketer: Client) -> None:
    job = make(
        kind(lambda job: {}),
        state="done",
        finished_at=timezone.now(),
        result={"url": "https://evil.example/"},
    )
    answer = as_marketer.get(reverse("audiences:job", args=[job.pk]) + "?after=//evil.example/x")
    assert "evil.example" not in answer.content.decode().split('id="content"')[1]


@pytest.mark.django_db
def test_only_its_roles_and_who_started_it_may_watch_or_cancel(
    kind: Any, as_marketer: Client, as_finance: Client
) -> None:
    name = kind(lambda job: {}, roles=(Role.FINANCE,))
    mine = make(name, created_by=User.objects.get(username="marketer"))
    other = make(name)
    assert as_marketer.get(reverse("audiences:job", args=[mine.pk])).status_code == 200
    assert as_marketer.get(reverse("audiences:job", args=[other.pk])).status_code == 403
    assert as_marketer.post(reverse("audiences:job_cancel", args=[other.pk])).status_code == 403
    assert as_finance.post(reverse("audiences:job_cancel", args=[other.pk])).status_code == 302
    other.refresh_from_db()
    assert other.state == "cancelled"


# Through the API --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_another_system_follows_and_cancels_a_job_by_its_key(kind: Any, make_user: Any) -> None:
    from config.api_keys import issue

    _key, reading = issue(make_user("robot", "finance"), "reader", ["audiences:read"])
    _key, writing = issue(make_user("robot"), "writer", ["audiences:read", "audiences:write"])
    job = make(kind(lambda job: {}, roles=(Role.FINANCE,)), step="Counting", done=1, total=2)
    hidden = make(kind(lambda job: {}, roles=(Role.MARKETER,)))
    reader = Client(headers={"Authorization": f"Bearer {reading}"})
    writer = Client(headers={"Authorization": f"Bearer {writing}"})
    one = f"/api/v1/jobs/{job.pk}/"
    assert reader.get(one).json()["state"] == "waiting"
    assert [row["id"] for row in reader.get("/api/v1/jobs/?state=waiting").json()["results"]] == [job.pk]
    assert reader.get(f"/api/v1/jobs/{hidden.pk}/").status_code == 404
    assert reader.post(f"{one}cancel/").status_code == 403
    assert writer.post(f"{one}cancel/").status_code == 202
    assert reader.get(one).json()["state"] == "cancelled"
    assert writer.post(f"{one}cancel/").status_code == 409
