"""What Locust itself reports for latencies: ``_locust_percentile.py FILE FRACTION`` prints one number.

FILE holds latencies in ms as float64; they go through `locust.stats` as Locust's own requests do. It is a
process of its own because importing Locust patches the standard library.
"""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

from locust.stats import RequestStats


def main() -> None:
    stats = RequestStats()
    for latency_ms in array("d", Path(sys.argv[1]).read_bytes()):
        stats.log_request("POST", "predict", latency_ms, 0)
    print(stats.get("predict", "POST").get_response_time_percentile(float(sys.argv[2])))


if __name__ == "__main__":
    main()
