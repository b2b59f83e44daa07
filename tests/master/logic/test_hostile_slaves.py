"""What hostile slaves achieve: the list of attacks in hostile/slaves.py."""

import random

import pytest

from hostile.slaves import ATTACKS
from owned_farm import World

HONEST = ("anna", "ben")


def everybody_builds(world, honest):
    for _ in range(5):
        for address in honest:
            world.work(address)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_others_can_build_and_nothing_is_lost(attack):
    world = World(versions=700, chance=random.Random(1).random)  # noqa: S311 (no secret)
    honest = [world.join(owner, busy=86_400) for owner in HONEST]
    everybody_builds(world, honest)
    attack.act(world, attack.by)
    assert world.peak[attack.by] <= attack.slaves
    assert attack.greeted is None or world.greeted[attack.by] <= attack.greeted
    assert attack.taken is None or world.taken[attack.by] <= attack.taken
    held = {each.identity for each in world.fleet.fitness.quarantines()}
    assert held == attack.quarantine
    failed = [each for each in world.db.builds.values() if each.owner == attack.by]
    assert not attack.quarantine or all(each.status for each in failed)

    late = world.join("carl")
    assert late is not None, "an honest slave is refused"
    assert world.work(late) is not None, "nothing is left for an honest slave"
    for _ in range(30):
        world.wait(4000)
        honest = [world.join(owner) for owner in HONEST]
        world.work_honestly(honest)
    assert not world.db.pending()
    assert len(world.wrong()) == attack.burnt


def test_the_log_names_an_owner_that_exceeds_a_quota_and_tells_what_to_do():
    world = World()
    for number in range(300):
        world.join("eve", f"id {number}")
    (warning,) = [each for each in world.warnings if "eve" in each]
    assert warning == (
        "has to wait: eve has 200 slaves already; see what runs there, or give the slaves several"
        " keys (piw-keys)"
    )
