"""What a failed call says, and whether it is safe to repeat it."""
import random
import time

import grpc

from longhaul import status_details_pb2

DETAILS = "grpc-status-details-bin"
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds


class Error(Exception):
    """A call that failed. code: grpc.StatusCode; reason: the service's word for programs, or ""; facts: numbers to it;
    fields: the request's fields that are wrong; retry_after: seconds after which the service says to ask again, or None."""

    def __init__(self, call):
        super().__init__("%s: %s" % (call.code().name, call.details()))
        self.code = call.code()
        self.message = call.details()
        self.reason, self.facts, self.fields, self.retry_after = "", {}, [], None
        for key, value in call.trailing_metadata() or ():
            if key == DETAILS:
                self._read(value)

    def _read(self, packed):
        for detail in status_details_pb2.Status.FromString(packed).details:
            kind = detail.type_url.rpartition(".")[2]
            if kind == "ErrorInfo":
                info = status_details_pb2.ErrorInfo.FromString(detail.value)
                self.reason, self.facts = info.reason, {fact.key: fact.value for fact in info.metadata}
            elif kind == "RetryInfo":
                delay = status_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                self.retry_after = delay.seconds + delay.nanos * 1e-9
            elif kind == "BadRequest":
                request = status_details_pb2.BadRequest.FromString(detail.value)
                self.fields = [violation.field for violation in request.field_violations]

    @property
    def may_repeat(self):
        """The service did nothing, or forgets what it did: UNAVAILABLE, and RESOURCE_EXHAUSTED where it says when."""
        return self.code == grpc.StatusCode.UNAVAILABLE or (
            self.code == grpc.StatusCode.RESOURCE_EXHAUSTED and self.retry_after is not None)


class Patience:
    """How long and how often one call is repeated: not beyond the deadline, and not more than so many times in a row."""

    def __init__(self, retries, timeout):
        self.retries = self.left = retries
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.pause = FIRST_PAUSE

    def timeout(self):
        """Seconds that the next attempt may take; None: any."""
        return None if self.deadline is None else max(0.001, self.deadline - time.monotonic())

    def renew(self):
        """Something came through: the next failure is a first one."""
        self.left, self.pause = self.retries, FIRST_PAUSE

    def wait(self, error):
        """Waits before the next attempt, or raises the error where there should be none."""
        seconds = error.retry_after if error.retry_after is not None else self.pause * random.uniform(0.5, 1)
        if not error.may_repeat or self.left == 0 or (
                self.deadline is not None and time.monotonic() + seconds >= self.deadline):
            raise error
        self.left -= 1
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
        time.sleep(seconds)
