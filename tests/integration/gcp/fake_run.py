"""Cloud Run's jobs and their executions, which finish when a test says so."""

from __future__ import annotations

from typing import Any

from google.cloud import run_v2
from google.longrunning import operations_pb2
from google.protobuf import json_format

from tests.integration.gcp.fake_http import FakeHttpApi, Refusal


class RunApi(FakeHttpApi):
    """The jobs that `jobs` names."""

    def __init__(self, *jobs: str) -> None:
        super().__init__()
        self.executions: dict[str, Any] = {}
        self._jobs = jobs

    def finish(self, name: str, succeeded: int, failed: int = 0) -> None:
        execution = next(found for path, found in self.executions.items() if path.endswith(name))
        execution.succeeded_count, execution.failed_count = succeeded, failed
        execution.completion_time = {"seconds": 1_751_328_000}

    def answer(self, method: str, path: str, body: bytes) -> Any:
        if method == "POST" and path.endswith(":run"):
            request = run_v2.RunJobRequest.pb(run_v2.RunJobRequest())
            json_format.Parse(body, request)
            return self._run(self._job(path.removesuffix(":run")), request.overrides)
        if method == "GET" and path.endswith("/executions"):
            job = self._job(path.removesuffix("/executions"))
            found = [execution for name, execution in self.executions.items() if name.startswith(f"{job}/")]
            return run_v2.ListExecutionsResponse.pb(run_v2.ListExecutionsResponse(executions=found[::-1]))
        if method == "GET" and path in self.executions:
            return run_v2.Execution.pb(self.executions[path])
        raise Refusal(404, f"Resource '{path}' was not found")

    def _job(self, path: str) -> str:
        if path not in self._jobs:
            raise Refusal(404, f"Resource '{path}' was not found")
        return path

    def _run(self, job: str, overrides: Any) -> Any:
        path = f"{job}/executions/campaign-{len(self.executions) + 1}"
        container = {"image": "one-smart-trade", "args": list(overrides.container_overrides[0].args)}
        self.executions[path] = run_v2.Execution(
            name=path, task_count=overrides.task_count, template={"containers": [container]}, running_count=overrides.task_count
        )
        operation = operations_pb2.Operation(name=f"{job.rpartition('/jobs')[0]}/operations/{len(self.executions)}")
        operation.metadata.Pack(run_v2.Execution.pb(self.executions[path]))
        return operation
