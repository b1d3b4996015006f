"""How a parallel loop of few but long turns is shared out between threads.

Taichi gives a CPU thread at least 512 turns of a parallel loop, so that a loop over a few hundred blocks, or over a batch, runs on one thread
alone. Such a loop therefore makes `turns(n, threads)` turns, and `entry_of` says which entry a turn takes: the entries go round the
threads, and turns beyond the last entry do nothing. On a GPU, where `threads` is 0, a turn is an entry.
"""

from ..runtime import taichi

ti = taichi()

GRAIN = 512


@ti.func
def turns(n, threads: ti.template()):
    """How many turns a loop over n entries makes."""
    count = n
    if ti.static(threads > 0):
        count = threads * ti.max((n + threads - 1) // threads, GRAIN)
    return count


@ti.func
def entry_of(turn, n, threads: ti.template()):
    """The entry of a turn; it may be n or more, and then there is none."""
    entry = turn
    if ti.static(threads > 0):
        share = ti.max((n + threads - 1) // threads, GRAIN)
        entry = turn // share + threads * (turn % share)
    return entry
