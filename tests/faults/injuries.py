"""What happens to a run: one function an injury. Each leaves what it hurt running again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg

from tests.faults.world import World

__all__ = ["INJURIES", "Injury", "possible"]

Injury = Callable[[World, random.Random], None]

_TERMINATE: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = %s AND pid <> pg_backend_pid()"
)


def kill_worker(world: World, chance: random.Random) -> None:
    world.kill(_some_worker(world, chance))


def kill_api(world: World, _: random.Random) -> None:
    world.kill("api")


def end_worker(world: World, chance: random.Random) -> None:
    """In good order, as a deployment does."""
    name = _some_worker(world, chance)
    world.end(name)
    world.start(name)


def crowd_of_workers(world: World, chance: random.Random) -> None:
    """They come and go at once, so that partitions are given out again and again."""
    names = [f"extra-{number}" for number in range(2)]
    for name in names:
        world.start(name)
    time.sleep(chance.uniform(0.5, 2))
    for name in names:
        if chance.random() < 0.5:
            process = world.processes.pop(name)
            process.kill()
            process.wait()
        else:
            world.end(name)


def pause_process(world: World, chance: random.Random) -> None:
    name = chance.choice(sorted(world.processes))
    _pause(world.processes[name].pid, chance)


def kill_postgres(world: World, chance: random.Random) -> None:
    world.ground.kill_server()
    time.sleep(chance.uniform(0, 0.4))
    world.ground.server.ensure_running()


def pause_postgres(world: World, chance: random.Random) -> None:
    """One of the processes of the server, which may hold any of its locks."""
    parent = world.ground.postmaster
    children = Path(f"/proc/{parent}/task/{parent}/children")
    found = [*children.read_text().split(), str(parent)]
    _pause(int(chance.choice(found)), chance)


def cut_connections(world: World, _: random.Random) -> None:
    name = world.url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(world.ground.server.url(), autocommit=True) as admin:
        admin.execute(_TERMINATE, [name])


def fill_disk(world: World, chance: random.Random) -> None:
    disk = world.ground.disk
    assert disk is not None
    disk.fill()
    time.sleep(chance.uniform(0.2, 1))
    disk.relieve()
    # A server that could not write its log may have given up.
    world.ground.server.ensure_running()


def set_clock(world: World, chance: random.Random) -> None:
    """Of the API and the workers, by up to a day in either direction."""
    world.ground.clock.set(chance.choice((-86_400, -3_600, -60, 60, 3_600, 86_400)))
    time.sleep(chance.uniform(0.2, 1))
    world.ground.clock.set(0)


def kill_broker(world: World, chance: random.Random) -> None:
    broker = world.ground.broker
    assert broker is not None
    broker.kill()
    time.sleep(chance.uniform(0, 0.5))
    broker.start()


def restart_broker(world: World, _: random.Random) -> None:
    broker = world.ground.broker
    assert broker is not None
    broker.stop()
    broker.start()


def pause_broker(world: World, chance: random.Random) -> None:
    broker = world.ground.broker
    assert broker is not None
    broker.signal(signal.SIGSTOP)
    time.sleep(chance.uniform(0.2, 2))
    broker.signal(signal.SIGCONT)


INJURIES: Final[tuple[Injury, ...]] = (
    kill_worker,
    kill_api,
    end_worker,
    crowd_of_workers,
    pause_process,
    kill_postgres,
    pause_postgres,
    cut_connections,
    fill_disk,
    set_clock,
    kill_broker,
    restart_broker,
    pause_broker,
)


def possible(world: World) -> tuple[dict[str, Injury], dict[str, str]]:
    """The injuries that can be done here, by name; and why others cannot."""
    ground = world.ground
    missing = {"fill_disk": ground.no_disk, "set_clock": ground.clock.missing}
    if ground.broker is None:
        no_broker = "this run has no broker"
        missing |= dict.fromkeys(("kill_broker", "restart_broker", "pause_broker"), no_broker)
    why = {name: reason for name, reason in missing.items() if reason}
    return {each.__name__: each for each in INJURIES if each.__name__ not in why}, why


def _some_worker(world: World, chance: random.Random) -> str:
    return chance.choice(sorted(name for name in world.processes if name != "api"))


def _pause(pid: int, chance: random.Random) -> None:
    # It may have ended meanwhile.
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.1, 1))
        os.kill(pid, signal.SIGCONT)
