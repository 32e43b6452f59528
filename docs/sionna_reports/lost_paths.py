"""Paths are lost, without a word, in the hash table that all receivers of a source share."""

import numpy as np
from sionna.rt import PathSolver, PlanarArray, Receiver, Transmitter, load_scene, scene

city = load_scene(scene.etoile)
city.frequency = 3.5e9
city.tx_array = city.rx_array = PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")
city.add(Transmitter("tx", position=[0, 0, 45]))
rng = np.random.default_rng(0)
places = np.column_stack([rng.uniform(-100, 100, (200, 2)), np.full(200, 1.5)])
for i, place in enumerate(places):
    city.add(Receiver(f"rx{i}", position=place.tolist()))
for table in (10**6, 10**7):
    paths = PathSolver()(
        city, max_depth=4, samples_per_src=10**5, max_num_paths_per_src=table, refraction=False
    )
    print(f"max_num_paths_per_src {table:>8,}: {np.array(paths.valid).sum()} paths")
print("expected: the same number, or a warning; found: fewer with the default table")
