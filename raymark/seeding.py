"""One root seed and named child generators, so that no draw depends on the order of others."""

import hashlib

import numpy as np


def child_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to `names` under the root `seed`.

    The names are hashed, so that adding a scene or a band leaves every other stream as it was.

    Example:
        >>> a = child_generator(1, "munich", "ue").random()
        >>> a == child_generator(1, "munich", "ue").random()
        True
    """
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).digest()
    words = np.frombuffer(digest, dtype=np.uint32).tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))
