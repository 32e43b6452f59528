"""The transition function of the uniform theory, without its pole, differentiable everywhere."""

import math

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

_NUM_TERMS = 32
_SCALE = math.sqrt(_NUM_TERMS / math.sqrt(2))


def _weideman_coefficients() -> tuple[float, ...]:
    """Return the polynomial of Weideman's expansion, highest power first."""
    size = 2 * _NUM_TERMS
    t = _SCALE * np.tan(np.arange(1 - size, size) * np.pi / size / 2)
    samples = np.concatenate([[0], np.exp(-(t**2)) * (_SCALE**2 + t**2)])
    terms = np.fft.fft(np.fft.fftshift(samples)).real / (2 * size)
    return tuple(float(term) for term in terms[_NUM_TERMS:0:-1])


_COEFFICIENTS = _weideman_coefficients()


def scaled_fresnel_tail(u: Float[Tensor, "*n"]) -> Complex[Tensor, "*n"]:
    """Return exp(z^2) erfc(z) at z = u exp(j pi/4), u >= 0.

    With F of Kouyoumjian and Pathak (1974, eq. 27), F(u^2) = sqrt(pi) z exp(z^2) erfc(z): the part
    that stays finite where the cotangent beside it does not. It is the Faddeeva function w(jz),
    from Weideman's rational expansion (1994, eq. 38) with 32 terms, good to 4e-14.
    """
    iz = -u * torch.exp(torch.tensor(0.25j * math.pi, dtype=torch.complex128, device=u.device))
    below = _SCALE - iz
    ratio = (_SCALE + iz) / below
    first, *others = torch.tensor(_COEFFICIENTS, dtype=torch.complex128, device=u.device)
    polynomial = first.expand_as(ratio)
    for coefficient in others:
        polynomial = torch.addcmul(coefficient, polynomial, ratio)
    return 2 * polynomial / below**2 + 1 / (math.sqrt(math.pi) * below)
