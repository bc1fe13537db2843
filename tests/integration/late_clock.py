"""A module of jobs that sets its worker's clock two minutes late, as on a host without NTP."""

from __future__ import annotations

import time

from coordinator import about

about.clock_s = lambda: time.time() - 120
