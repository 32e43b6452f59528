"""The paths of a receiver hang on which other receivers stand in the same call."""

import numpy as np
from sionna.rt import PathSolver, PlanarArray, Receiver, Transmitter, load_scene, scene

NUM_OWN, NUM_ALL = 16, 500

city = load_scene(scene.munich)
city.frequency = 3.5e9
city.tx_array = city.rx_array = PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")
city.add(Transmitter("tx", position=[8.5, 21, 27]))
rng = np.random.default_rng(0)
places = np.column_stack([rng.uniform(-100, 100, (NUM_ALL, 2)), np.full(NUM_ALL, 1.5)])
for count in (NUM_OWN, NUM_ALL):
    for i in range(len(city.receivers), count):
        city.add(Receiver(f"rx{i}", position=places[i].tolist()))
    paths = PathSolver()(city, max_depth=4, samples_per_src=10**5, refraction=False)
    valid = np.array(paths.valid).reshape(count, -1)[:NUM_OWN]
    print(f"{count} receivers: the first {NUM_OWN} have {valid.sum()} paths")
print("expected: the same number; found: it hangs on the company")
