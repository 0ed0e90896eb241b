"""Runs under fire, one after the other: ``python -m tests.faults.campaign`` (`make test-faults`).

Each run has a seed, from which everything follows that we decide: what is sent, what happens, and
about when. When exactly it hits is the machine's doing, so a seed that failed once may pass.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.injuries import possible
from tests.faults.load import EventStorm, load
from tests.faults.verdict import faults_of, wait_until_acknowledged, wait_until_applied
from tests.faults.world import Ground, ground, world
from tests.support.broker import Unavailable, broker
from tests.support.storm import Storm
from tests.support.webhooks import body_of
from tidemill.database import connect

__all__ = ["Outcome", "main", "run"]

# Between two deliveries of a sender: what happens is to happen while something arrives.
_PAUSE_S: Final = 0.05


@dataclass(frozen=True)
class Outcome:
    """What became of a run: what happened in it, and everything that was wrong after it."""

    seed: int
    happened: tuple[str, ...]
    acknowledged: int
    wrong: tuple[str, ...]
    took_s: float

    def __str__(self) -> str:
        """One line, and one more for everything that was wrong."""
        verdict = "WRONG" if self.wrong else "ok"
        said = f"seed {self.seed}: {verdict}, {self.acknowledged} acknowledged, {self.took_s:.0f} s"
        return "\n    ".join([f"{said}; {', '.join(self.happened)}", *self.wrong])


def run(
    ground: Ground,
    seed: int,
    *,
    customers: int = 16,
    injuries_max: int = 4,
    workers: int = 2,
    only: tuple[str, ...] = (),
) -> Outcome:
    """One run: send, hurt, wait, judge.

    only: the names of injuries to choose from; all that are possible here by default.
    """
    chance, began = random.Random(seed), time.monotonic()
    sent = load(chance, customers)
    happened: list[str] = []
    with world(ground, workers) as here, connect(here.url, migrate=False) as database:
        here.wait_for_api()
        bus = here.bus(database)
        storm = Storm(
            f"http://127.0.0.1:{here.port}",
            [body_of(each) for each in sent.raws],
            patient=True,
            pause_s=_PAUSE_S,
        )
        events = EventStorm(bus, sent.events, chance)
        storm.start()
        events.start()
        can, _ = possible(here)
        names = [name for name in can if not only or name in only]
        chance.shuffle(names)
        for name in names[:injuries_max]:
            time.sleep(chance.uniform(0, 0.3))
            happened.append(name)
            can[name](here, chance)
            here.heal()
        wait_until_acknowledged(here, storm, events)
        wait_until_applied(here, database, bus)
        here.end(*here.processes)
        wrong = tuple(faults_of(here, database, sent, events.acknowledged))
        bus.close()
        count = storm.acknowledged + len(events.acknowledged)
    return Outcome(seed, tuple(happened), count, wrong, time.monotonic() - began)


def main(arguments: list[str]) -> int:
    """Runs, told as they end; the exit code."""
    parser = argparse.ArgumentParser(prog="make test-faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--kafka", choices=("no", "yes", "half"), default="half")
    given = parser.parse_args(arguments)
    # Whoever ends it, in whatever way but one, finds nothing left running.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    kinds = {"no": [False], "yes": [True], "half": [False, True]}[given.kafka]
    failed: list[Outcome] = []
    done: Counter[str] = Counter()
    for number, with_broker in enumerate(kinds):
        share = given.runs // len(kinds) + (number < given.runs % len(kinds))
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
            try:
                running = stack.enter_context(broker()) if with_broker else None
            except Unavailable as missing:
                print(f"no runs with Kafka: {missing}")
                continue
            here = stack.enter_context(ground(folder, running))
            for reason in filter(None, (here.no_disk, here.clock.missing)):
                print(f"not everything happens here: {reason}")
            print("through Kafka" if with_broker else "through PostgreSQL", flush=True)
            for seed in range(given.seed, given.seed + share):
                outcome = run(here, seed)
                done.update(outcome.happened)
                failed += [outcome] if outcome.wrong else []
                print(outcome, flush=True)
    told = ", ".join(f"{count} × {name}" for name, count in sorted(done.items()))
    print(f"{sum(done.values())} injuries: {told}")
    print(f"{len(failed)} runs went wrong: seeds {[each.seed for each in failed]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
