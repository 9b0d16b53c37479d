"""All faults of ``pacioli torture``, and the order in which they come."""

import random
import signal
import time
from collections.abc import Iterator, Sequence

from ops.proving.chaos import network, postgres, processes, redis
from ops.proving.chaos.fault import Fault

_WAYS = {"Postgres": lambda arena: arena.database, "Redis": lambda arena: arena.broker}

MAINS = (
    Fault("kill -9 web, the main process", processes.kill_main("web")),
    Fault("kill -9 worker, the main process", processes.kill_main("worker")),
    Fault("kill -9 beat", processes.kill_main("beat")),
)

IN_THE_MIDDLE = (
    Fault("kill -9 a web process in an append", processes.kill_web_in_an_append),
    Fault("kill -9 a child of worker in a drain", processes.kill_worker_in_a_drain),
    Fault("freeze a web process in an append", processes.freeze_web_in_an_append),
    Fault("freeze a child of worker in a drain", processes.freeze_worker_in_a_drain),
)

STUTTER = Fault("web, worker and Postgres stutter", processes.stutter)

ALL_DEAD = Fault("web, worker and beat dead for 5 s", processes.dead("web", "worker", "beat"))

ALL = (
    *MAINS,
    Fault("kill -9 a web process", processes.kill_child("web")),
    Fault("kill -9 a child of worker", processes.kill_child("worker")),
    Fault("kill -9 deliverer", processes.kill_main("deliverer")),
    *IN_THE_MIDDLE,
    STUTTER,
    *(Fault(f"{part} dead for 5 s", processes.dead(part)) for part in ("web", "worker", "beat")),
    ALL_DEAD,
    *(Fault(f"freeze {part}, the main process", processes.freeze_main(part)) for part in ("web", "worker", "beat")),
    Fault("freeze the supervisor", processes.freeze_supervisor),
    Fault("nobody reads the log", processes.leave_log_unread),
    Fault("no beat for 10 s", processes.no_beat),
    Fault("two beats for 10 s", processes.two_beats),
    Fault("Postgres: fast restart", postgres.send(signal.SIGINT)),
    Fault("Postgres: immediate restart", postgres.send(signal.SIGQUIT)),
    Fault("Postgres: kill -9 the postmaster", postgres.send(signal.SIGKILL)),
    Fault("Postgres: kill -9 a backend", postgres.kill_backend),
    Fault("Postgres: kill -9 the backend of an append", postgres.kill_backend_in_an_append),
    Fault("Postgres dead for 5 s", postgres.dead),
    Fault("Postgres: freeze all", postgres.freeze_all),
    Fault("Postgres: freeze the postmaster", postgres.freeze_postmaster),
    Fault("Postgres: freeze a backend", postgres.freeze_backend),
    Fault("Postgres: read-only", postgres.read_only),
    Fault("Postgres: connections used up", postgres.use_up_connections),
    Fault("Postgres: all sessions ended", postgres.end_sessions),
    Fault("Postgres: append lock held by an idle session", postgres.hold_append_lock),
    Fault("Redis: kill -9", redis.kill),
    Fault("Redis dead for 5 s", redis.dead),
    Fault("Redis: freeze", redis.freeze),
    Fault("Redis: FLUSHALL", redis.flush),
    Fault("Redis: out of memory", redis.out_of_memory),
    Fault("Redis: a read-only replica", redis.read_only_replica),
    Fault("Redis: junk in lists and channel", redis.junk),
    *(Fault(f"network to {name}: cut", network.cut(to)) for name, to in _WAYS.items()),
    *(Fault(f"network to {name}: refuses", network.refuse(to)) for name, to in _WAYS.items()),
    *(Fault(f"network to {name}: stalls", network.stall(to)) for name, to in _WAYS.items()),
    *(Fault(f"network to {name}: slow", network.slow(to)) for name, to in _WAYS.items()),
    Fault("200 clients that send a byte a second", network.slow_clients),
)


def shuffled(dice: random.Random, seconds: float, faults: Sequence[Fault] = ALL) -> Iterator[Fault]:
    """Iterate over faults until the time is up. Each comes once before any comes again."""
    until = time.monotonic() + seconds
    while True:
        for fault in dice.sample(faults, len(faults)):
            if time.monotonic() >= until:
                return
            yield fault
