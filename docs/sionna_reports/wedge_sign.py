"""The field over a metal wedge jumps where the reflected ray leaves its face.

Two receivers stand 0.02 degrees apart, one on each side of the reflection boundary; the diffracted
and the reflected path together must give nearly the same field at both.
"""

from pathlib import Path

import numpy as np
from sionna.rt import PathSolver, PlanarArray, Receiver, Transmitter, load_scene

CARRIER_HZ, C = 2.6e9, 299_792_458.0
APEX, SOURCE = np.array([0.0, 0.0, 20.0]), np.array([-50.0, 0.0, 10.0])
IMAGE = np.array([-10.0, 0.0, -30.0])  # of the source in the face of the ridge that it sees

scene = load_scene(str(Path(__file__).with_name("ridge.xml")), merge_shapes=False)
scene.frequency = CARRIER_HZ
scene.tx_array = scene.rx_array = PlanarArray(
    num_rows=1, num_cols=1, pattern="iso", polarization="V"
)
scene.add(Transmitter("tx", position=SOURCE.tolist()))
boundary = np.arctan2(APEX[2] - IMAGE[2], APEX[0] - IMAGE[0])
for i, angle in enumerate(boundary + np.radians([-0.01, 0.01])):
    place = APEX + 60 * np.array([np.cos(angle), 0, np.sin(angle)])
    scene.add(Receiver(f"rx{i}", position=place.tolist()))
paths = PathSolver()(
    scene, max_depth=1, los=False, diffraction=True, samples_per_src=10**6, refraction=False
)
real, imaginary = (np.array(part)[:, 0, 0, 0] for part in paths.a)
tau_s = np.array(paths.tau).reshape(2, -1)
length_m, field = tau_s * C, (real + 1j * imaginary) * np.exp(-2j * np.pi * CARRIER_HZ * tau_s)
for i, receiver in enumerate(scene.receivers.values()):
    place = np.array(receiver.position).ravel()
    ways_m = [np.linalg.norm(APEX - SOURCE) + 60, np.linalg.norm(place - IMAGE)]
    wanted = np.min(np.abs(length_m[i][:, None] - ways_m), axis=1) < 1e-2
    print(f"receiver {i}: {wanted.sum()} path(s), |sum| {abs(field[i][wanted].sum()):.3e}")
print("expected: the same within a percent or two; found: a step of many dB")
print("cause: the sign of phi_sb_0_hat and phi_sb_n_hat in RadioMaterial._diffraction_matrix")
