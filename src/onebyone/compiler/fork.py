"""What a fork must not cut in two.

A forked child has the memory of all threads, and only the one that forked. A lock that another
thread held stays locked in the child for ever, be it Python's, LLVM's or that of a module which is
being imported. So whoever is in such a place holds `whole`, and a fork waits until nobody does.

Who holds `whole` may wait for nothing that a thread which forks could have: no pool of threads, no
other lock. A finalizer may run anywhere, so it does not wait for `whole`, but tries.
"""

import os
import threading

whole = threading.RLock()

os.register_at_fork(
    before=whole.acquire, after_in_parent=whole.release, after_in_child=whole.release
)
