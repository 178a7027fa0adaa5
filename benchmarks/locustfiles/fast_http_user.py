"""The same predict request from Locust's FastHttpUser."""

# mypy: disable-error-code="misc,untyped-decorator"

from locust import FastHttpUser, task

BODY = b'{"instances": [1.0, 2.0, 5.0]}'


class Predict(FastHttpUser):
    """Sends, waits for the answer, and sends again."""

    @task
    def predict(self) -> None:
        """One request."""
        self.client.post(
            "/v1/models/half_plus_two:predict", data=BODY, headers={"Content-Type": "application/json"}
        )
