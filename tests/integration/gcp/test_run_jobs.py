"""What Cloud Run adds to the task array's contract: lost answers, refusals; and that the fake and the real client agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.run_v2 import ExecutionsClient, JobsClient

from shared.adapters.gcp.rest import JsonApi
from shared.adapters.gcp.run_jobs import RunJobs
from shared.domain.errors import JobError, UsageError
from tests.integration.gcp.fake_http import Refusal
from tests.integration.gcp.fake_run import RunApi

JOB = "projects/demo/locations/europe-west1/jobs/campaign"


@pytest.fixture
def api() -> Iterator[RunApi]:
    with RunApi(JOB) as running:
        yield running


def jobs(api: RunApi, patience_s: float = 3.0, session: Any | None = None) -> RunJobs:
    run = JsonApi(f"http://{api.address}/v2", session or requests.Session())
    return RunJobs("demo", "europe-west1", "campaign", run=run, patience_s=patience_s)


def client(client_class: Any, api: RunApi) -> Any:
    """The library's own client, towards the fake."""
    transport = client_class.get_transport_class("rest")
    return client_class(transport=transport(host=api.address, url_scheme="http", credentials=AnonymousCredentials()))


def test_the_library_finds_what_we_have_started_and_we_what_the_library_has(api: RunApi) -> None:
    ours = jobs(api).start(["k-1"], 4)
    found = client(ExecutionsClient, api).get_execution(name=f"{JOB}/executions/{ours.name}")
    assert (found.task_count, list(found.template.containers[0].args)) == (4, ["k-1"])
    api.finish(ours.name, 4)
    overrides = {"task_count": 2, "container_overrides": [{"args": ["k-2"]}]}
    theirs = client(JobsClient, api).run_job(request={"name": JOB, "overrides": overrides}).metadata
    assert jobs(api).start(["k-2"], 2).name == theirs.name.rpartition("/")[2]


class LosesTheStart(requests.Session):
    """Tells the fake to lose the answer to whatever is started."""

    def __init__(self, api: RunApi) -> None:
        super().__init__()
        self._api = api

    def request(self, method: Any, *arguments: Any, **options: Any) -> Any:
        self._api.loses_answer = method == "POST"
        return super().request(method, *arguments, **options)


def test_a_start_whose_answer_was_lost_is_found_by_asking_again(api: RunApi) -> None:
    api.finish(jobs(api).start(["k-0"], 1).name, 1)
    api.asked.clear()
    with pytest.raises(JobError, match=f"cannot start the job {JOB}: it cannot be reached"):
        jobs(api, session=LosesTheStart(api)).start(["k-1"], 3)
    again = jobs(api).start(["k-1"], 3)
    assert (again.name, len(api.executions)) == ("campaign-2", 2)
    assert api.asked == ["GET executions", "POST campaign:run", "GET executions"]


def test_a_passing_refusal_of_a_question_is_tried_again_by_itself(api: RunApi) -> None:
    started = jobs(api).start(["k-1"], 1)
    api.refusals = [Refusal(503), Refusal(429)]
    assert jobs(api).execution(started.name) == started


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "permission denied; grant the service account the role.*said the test"), (400, "the request is refused as it is")],
)
def test_a_refusal_says_what_to_do(api: RunApi, status: int, message: str) -> None:
    api.refusals = [Refusal(status)]
    with pytest.raises(JobError, match=f"cannot start the job {JOB}: {message}"):
        jobs(api).start(["k-1"], 1)


def test_an_api_that_is_away_is_told_after_the_patience(api: RunApi) -> None:
    api.refusals = [Refusal(503)] * 50
    with pytest.raises(JobError, match="no answer in time; try again"):
        jobs(api, patience_s=0.5).execution("campaign-1")


def test_an_address_that_is_no_job_is_refused() -> None:
    assert repr(RunJobs.at("run://demo/europe-west1/campaign", run=JsonApi("", requests.Session()))) == f"RunJobs({JOB!r})"
    for url in ("run://demo/campaign", "run://demo//campaign", "gs://a/b/c"):
        with pytest.raises(UsageError, match="expected run://PROJECT/REGION/JOB"):
            RunJobs.at(url)
