"""Uses no processor time, and never ends."""

import time

time.sleep(1e6)
