"""Python imports this module at its start. It moves ``time.time`` of the process by CLOCK_OFF_S seconds.

Nothing of ours reads the clock in another way; a test of the wiring says so.
"""

import os
import time

OFF_S = float(os.environ["CLOCK_OFF_S"])
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + OFF_S
time.time_ns = lambda: _time_ns() + int(OFF_S * 1e9)
