"""Access logs: when POST requests came, by the format of the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.access_log import AccessLogFormat
from pytest_tfserving.experiments.trace_file import read_trace

if TYPE_CHECKING:
    from pathlib import Path

COMBINED = '10.0.0.7 - ada [29/Nov/2026:02:00:0{second} +0100] "{request}" 200 31 "-" "curl/8 \\"x\\" [y]"\n'
PREDICT = "POST /v1/models/half:predict HTTP/1.1"


def times(folder: Path, text: str, log_format: str) -> list[float]:
    path = folder / "access.log"
    path.write_text(text, encoding="utf-8")
    return list(read_trace(path, log_format).times_s)


@pytest.mark.parametrize("log_format", ["combined", "common"])
def test_requests_of_a_second_are_spread_over_it(tmp_path: Path, log_format: str) -> None:
    lines = [COMBINED.format(second=second, request=PREDICT) for second in (1, 1, 2, 4)]

    assert times(tmp_path, "".join(lines), log_format) == pytest.approx([0, 0.5, 1.25, 3.25])


def test_nginx_can_write_the_exact_time(tmp_path: Path) -> None:
    line = COMBINED.format(second=1, request=PREDICT).rstrip()
    text = "".join(f"{line} {1795914000 + at:.3f}\n" for at in (0.125, 0.25, 7))

    assert times(tmp_path, text, "msec") == pytest.approx([0, 0.125, 6.875])


def test_a_format_of_ones_own(tmp_path: Path) -> None:
    text = '1795914000.5|200|"POST /a"|x\n1795914002.0|200|"POST /b?c=|"|y\n'

    assert times(tmp_path, text, '$msec|$status|"$request"') == [0, 1.5]
    assert times(tmp_path, "[2026-11-29T01:00:00+00:00] a b\n", "[$time_iso8601]") == [0]


def test_what_is_no_post_request_is_left_out(tmp_path: Path) -> None:
    lines = [
        COMBINED.format(second=second, request=request)
        for second, request in ((1, PREDICT), (2, "GET /v1/models/half HTTP/1.1"), (3, PREDICT))
    ]

    assert times(tmp_path, "".join(lines), "combined") == pytest.approx([0, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            COMBINED.format(second=1, request=PREDICT) + "GET / 200\n",
            "access.log:2: 'GET / 200' is not a line of the log_format '$remote_addr",
        ),
        (
            COMBINED.replace("Nov", "Now").format(second=1, request=PREDICT),
            "access.log:1: '10.0.0.7 - ada [29/Now/2026",
        ),
        (
            "".join(COMBINED.format(second=second, request=PREDICT) for second in (2, 1)),
            "access.log:2: the time goes back by 1 s",
        ),
        (
            COMBINED.format(second=1, request="GET / HTTP/1.1"),
            "access.log has no POST request; it needs a request or more.",
        ),
    ],
)
def test_a_line_that_is_wrong_has_its_number(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        times(tmp_path, text, "combined")

    assert message in str(error.value)


@pytest.mark.parametrize("name", ["combine", "$status $request"])
def test_a_format_without_a_time(name: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        AccessLogFormat.of(name)

    assert str(error.value) == (
        f"log_format {name!r} has no time; valid: common, combined, msec, or a text in the form of nginx's "
        "log_format with $msec, $time_iso8601 or $time_local."
    )


def test_a_long_line_of_another_kind_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a line of the log_format"):
        times(tmp_path, "a " * 100_000 + "\n", "combined")
