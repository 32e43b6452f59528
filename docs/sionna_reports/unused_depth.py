"""A path that is reflected after its diffraction has another field when `max_depth` is larger.

The path is the same; only the number of unused slots behind it differs.
"""

from pathlib import Path

import numpy as np
from sionna.rt import PathSolver, PlanarArray, Receiver, Transmitter, load_scene

scene = load_scene(str(Path(__file__).with_name("ridge.xml")), merge_shapes=False)
scene.frequency = 2.6e9
scene.tx_array = scene.rx_array = PlanarArray(
    num_rows=1, num_cols=1, pattern="iso", polarization="V"
)
scene.add(Transmitter("tx", position=[-50, 0, 10]))
scene.add(Receiver("rx", position=[50, 0, 2]))
for depth in (2, 3, 4):
    paths = PathSolver()(
        scene, max_depth=depth, diffraction=True, samples_per_src=10**6, refraction=False
    )
    kinds = np.array(paths.interactions).reshape(depth, -1)
    behind = (kinds[0] == 8) & (kinds[1] == 1) & (kinds[2:] == 0).all(axis=0)
    real, imaginary = (np.array(part).ravel() for part in paths.a)
    levels = np.unique(np.abs(real + 1j * imaginary)[behind].round(12))
    print(f"max_depth {depth}: |a| of diffraction, reflection: {levels}")
print("expected: one number for all depths; found: it falls as soon as a slot is unused")
print("cause: FieldCalculator._diffraction_compute_s_s_prime adds the way to one vertex more")
