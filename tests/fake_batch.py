"""AWS Batch without a network: answers as far as nbpipe asks, and fails on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

LOST = ReadTimeoutError(endpoint_url="https://batch")
AWAY = EndpointConnectionError(endpoint_url="https://batch")


def refused(code: str, status: int = 400) -> ClientError:
    said = {
        "Error": {"Code": code, "Message": "said AWS"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(said, "SubmitJob")


class FakeBatch:
    """The service, as far as it is used.

    Attributes:
        before: errors that the next calls of a method raise; None: that call is carried out.
        after: the same, but the call is carried out before.
        ends: how a job ends when it is asked about: its status, exit code and tries.
        on_submit: called with the name of each job that was submitted.
        endless: jobs run until they are ended.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.definitions: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.before: dict[str, list[Exception | None]] = {}
        self.after: dict[str, list[Exception | None]] = {}
        self.ends: dict[str, tuple[str, int | None, int]] = {}
        self.on_submit: Callable[[str], None] = lambda name: None
        self.endless = False

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        work = getattr(type(self), f"_{method}")

        def call(**request: Any) -> dict[str, Any]:
            self.calls.append((method, request))
            self._raise_next(self.before, method)
            answer: dict[str, Any] = work(self, **request)
            self._raise_next(self.after, method)
            return answer

        return call

    @staticmethod
    def _raise_next(errors: dict[str, list[Exception | None]], method: str) -> None:
        waiting = errors.get(method)
        error = waiting.pop(0) if waiting else None
        if error is not None:
            raise error

    def _describe_job_definitions(self, jobDefinitionName: str, status: str) -> dict[str, Any]:
        assert status == "ACTIVE"
        found = self.definitions.get(jobDefinitionName)
        return {"jobDefinitions": [found] if found else []}

    def _register_job_definition(self, **definition: Any) -> dict[str, Any]:
        self.definitions[definition["jobDefinitionName"]] = definition
        return {}

    def _submit_job(self, **request: Any) -> dict[str, Any]:
        assert request["jobDefinition"] in self.definitions
        number = f"id-{len(self.jobs)}"
        self.jobs[number] = {**request, "status": "RUNNABLE"}
        self.on_submit(request["jobName"])
        return {"jobId": number}

    def _list_jobs(self, jobQueue: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
        [by_name] = filters
        names = [name.lower() for name in by_name["values"]]
        found = [n for n, job in self.jobs.items() if job["jobName"].lower() in names]
        return {"jobSummaryList": [{"jobId": number} for number in found]}

    def _describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        return {"jobs": [self._told(number) for number in jobs]}

    def _told(self, number: str) -> dict[str, Any]:
        job = self.jobs[number]
        status, code, tries = self.ends.get(job["jobName"], ("SUCCEEDED", 0, 1))
        if job["status"] == "RUNNABLE" and not self.endless:
            job["status"] = status
        inner = {"exitCode": code, "reason": "why"} if code is not None else {}
        return {
            "jobId": number,
            "status": job["status"],
            "attempts": [{"container": inner}] * tries,
            "container": {**job["containerOverrides"], **inner, "logStreamName": "stream"},
        }

    def _terminate_job(self, jobId: str, reason: str) -> dict[str, Any]:
        self.jobs[jobId]["status"] = "FAILED"
        return {}

    def called(self, method: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == method]
