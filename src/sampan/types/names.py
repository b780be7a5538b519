"""Names for containers that were given none: a sailor's word and an engineer's or scientist's name."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

_ADJECTIVES_TEXT = """
able adrift afloat agile anchored bold brave breezy bright brisk buoyant calm clever coastal drifting eager easy
fair fearless fleet floating foamy free fresh gallant gentle gliding golden handy hardy harboured homeward hopeful
jolly keen laden leeward lively lucky lunar merry mellow misty moored nimble northern patient placid plucky polar
proud quick quiet ready roving rowing sailing salty serene sheltered silver skilled sleek smooth snug southern
spirited spry starboard starry stately steady steering sturdy sunny sunlit swift tidal tidy trim trusty unsinkable
upright upwind valiant vigilant wandering watchful wavy weathered western windward winged wise zesty
"""
_ADJECTIVES = _ADJECTIVES_TEXT.split()
_NAMES_TEXT = """
ampere archimedes ariel babbage bardeen bartik becquerel bell berners booth boyle brunel carson cerf clarke cook
cori curie cutler darwin dijkstra drake eckert edison einstein engelbart euclid euler faraday fermat fermi feynman
floyd franklin fresnel fulton galileo galois gauss gilbreth goddard goodall haversham hamilton harrison heaviside
hedy hertz hodgkin holberton hooke hopper huygens hypatia jemison johnson joule kaare kalman keldysh keller kepler
kernighan khayyam knuth kovalevskaya lamport lamarr laplace leavitt liskov lovelace magellan maxwell mcclintock
meitner mendel mercator mirzakhani moser murdock napier newton noether ohm pascal pasteur perlman pike planck
poincare ptolemy ramanujan raman ride ritchie roentgen rubin sammet shannon shaw sinoussi somerville stallman
stevin stonebraker swartz swirles tesla thompson torvalds turing varahamihira vaughan vaucanson volta watt wiles
wilkes wing wozniak wright wu yalow yonath zheng zuse
"""
_NAMES = _NAMES_TEXT.split()
_random = random.Random(os.urandom(16))


def random_name(taken: Callable[[str], bool] | None = None) -> str:
    """An `adjective_name`; with a number behind it when every plain one that was tried is `taken`.

    Docker's own names have the same form, so scripts that parse them work.
    """
    name = ""
    for attempt in range(64):
        name = f"{_random.choice(_ADJECTIVES)}_{_random.choice(_NAMES)}"
        if attempt >= 6:
            name += str(_random.randrange(10 ** min(attempt // 6, 9)))
        if taken is None or not taken(name):
            return name
    return f"{name}{os.urandom(8).hex()}"
