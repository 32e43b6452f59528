"""The rays of paths: what their fields hang on besides the carrier, computed once for all."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from raymark.fields.diffraction import Bends, bend_matrix, bends
from raymark.fields.materials import Carrier, Materials
from raymark.fields.paths import PathGeometry, lengths, unit
from raymark.fields.reflection import Mirrors, reflect, slab_reflection


@dataclass(frozen=True, slots=True, kw_only=True)
class Rays:
    """Directions, lengths, and what happens at each interaction.

    Attributes:
        from_bs: Unit vectors from the BS along the first leg.
        from_ue: Unit vectors from the UE along the last leg.
        length_m: Length of each path [m].
        reflecting: Paths that reflect, those of the first slot, of the second, and so on.
        diffracting: Paths that diffract, in the same order.
        num_reflecting: How many there are in each slot.
        num_diffracting: How many there are in each slot.
        mirrors: The reflections.
        bends: The diffractions.
        cos_incidence: At every facet: those of reflections, all 0-faces and all n-faces.
        material: Of every facet.
    """

    from_bs: Float[Tensor, "path 3"]
    from_ue: Float[Tensor, "path 3"]
    length_m: Float[Tensor, "path"]
    reflecting: Int[Tensor, "reflection"]
    diffracting: Int[Tensor, "diffraction"]
    num_reflecting: list[int]
    num_diffracting: list[int]
    mirrors: Mirrors
    bends: Bends
    cos_incidence: Float[Tensor, "facet"]
    material: Int[Tensor, "facet"]

    def carry(
        self, launched: Float[Tensor, "path 3 pol"], materials: Materials, carrier_hz: Carrier
    ) -> Complex[Tensor, "path 3 pol"]:
        """Return field vectors at the UEs of waves that leave the BS, as if none of them spread."""
        num_bends = len(self.diffracting)
        met = slab_reflection(self.cos_incidence, self.material, materials, carrier_hz)
        *slabs, face_0, face_n = met.split([*self.num_reflecting, num_bends, num_bends])
        matrices = bend_matrix(self.bends, (face_0, face_n), carrier_hz)
        slots = zip(
            self.reflecting.split(self.num_reflecting),
            self.mirrors.split(self.num_reflecting),
            slabs,
            self.diffracting.split(self.num_diffracting),
            self.bends.incident.split(self.num_diffracting),
            matrices.split(self.num_diffracting),
            self.bends.outgoing.split(self.num_diffracting),
            strict=True,
        )
        field = launched.to(torch.complex128)
        for mirrored, mirror, slab, bent, incident, matrix, outgoing in slots:
            reflected = reflect(field.index_select(0, mirrored), mirror, slab)
            field = field.index_copy(0, mirrored, reflected)
            components = matrix @ (incident @ field.index_select(0, bent))
            field = field.index_copy(0, bent, outgoing.mT @ components)
        return field


def rays_of(paths: PathGeometry) -> Rays:
    """Return the rays of paths.

    Raises:
        PhysicsError: If a ray runs inside the wedge that it is diffracted at.
    """
    legs_m = paths.legs_m
    direction, so_far_m = unit(legs_m), torch.cumsum(lengths(legs_m), dim=1)
    slot, row = paths.reflects.T.nonzero().unbind(1)
    arriving, normal = direction[row, slot], paths.normal[row, slot]
    cosine, material = (arriving * normal).sum(-1).abs(), paths.material[row, slot]
    edge, bent = paths.diffracts.T.nonzero().unbind(1)
    before_m, behind_m = so_far_m[bent, edge], (so_far_m[:, -1:] - so_far_m)[bent, edge]
    diffractions = bends(
        (direction[bent, edge], direction[bent, edge + 1]),
        (before_m, behind_m),
        paths.wedge.take(bent),
    )
    path = torch.arange(len(legs_m), device=legs_m.device)
    faces = diffractions.faces
    return Rays(
        from_bs=direction[:, 0],
        from_ue=unit(-legs_m[path, paths.num_interactions]),
        length_m=so_far_m[:, -1],
        reflecting=row,
        diffracting=bent,
        num_reflecting=paths.reflects.sum(dim=0).tolist(),
        num_diffracting=paths.diffracts.sum(dim=0).tolist(),
        mirrors=Mirrors.at(arriving, normal),
        bends=diffractions,
        cos_incidence=torch.cat([cosine, *(face.cos_incidence for face in faces)]),
        material=torch.cat([material, *diffractions.material]),
    )
