"""What a reader must know of a simulated radio dataset; the documents of a release share it."""

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.manifest import Manifest
from raymark.release.record import About

SIMULATED = (
    "Simulated: ray tracing in simplified models of places; no measurement was made, and no claim "
    "is tested against one. Models trained here may fail on real channels."
)
TRACED_LIMITATIONS = (
    "Buildings have flat walls and nominal ITU-R P.2040 materials; there is no vegetation, no "
    "traffic, furniture, weather or moving person.",
    "Base stations, their heights, arrays, downtilts and noise figures are assumed, not those of "
    "any operator.",
    "Traced anew, the paths have the same bits with the software versions in `dataset.json` on any "
    "x86-64 processor; elsewhere they may differ by rounding.",
)
IMPORTED_LIMITATION = (
    "The paths were made by another program ({source}); raymark checked them against physical laws "
    "and cannot trace them again. What that program assumed of materials, arrays and positions is "
    "said by its own documents."
)
BIAS_OF_SCENES = (
    "The places are {scenes} alone; results say little about other cities or other kinds of places."
)
USE_CASES = (
    "Training and comparing models that locate a UE from its channel.",
    "Studying how carrier, line of sight and multipath affect localization.",
    "Not for planning of networks, for certifying safety, or for statements on real people.",
)
SOCIAL_IMPACT = (
    "Localization by radio can help in emergencies and can be used to track people without their "
    "knowledge. The data hold no person, device or operator; methods that were tuned on them "
    "should be judged with both uses in mind."
)
MAINTENANCE = (
    "Releases are never changed: an error leads to a new version, and the old one names what "
    "supersedes it. `raymark release diff` shows what changed."
)
MISSING_DATA = "UEs without any path stay in, labelled -1 (outage). No value is imputed."
PREPROCESSING = (
    "Paths are ranked by power, cut off and labelled; what was cut off is counted for each link. "
    "Fingerprints are made from the stored paths by published code."
)
ANNOTATION = (
    "Positions and LOS, NLOS and outage labels follow from the simulation; no human labels."
)


def is_traced(manifest: Manifest) -> bool:
    """Return whether raymark traced the paths, with Sionna RT; others were imported."""
    return manifest.campaign.sampling.imported_from is None


def description(about: About, manifest: Manifest) -> str:
    """Return what campaign and publisher say of a dataset; it is never empty."""
    texts = (manifest.campaign.description, about.description)
    return " ".join(text.strip() for text in texts if text.strip()) or about.title


def limitations(manifest: Manifest) -> list[str]:
    """Return the limitations of one dataset, with its own figures."""
    tracer, source = manifest.campaign.tracer, manifest.campaign.sampling.imported_from
    found = [SIMULATED]
    if source is not None:
        found.append(IMPORTED_LIMITATION.format(source=source))
    else:
        found += [*TRACED_LIMITATIONS, _propagation(tracer)]
    found.append(_kept(tracer))
    missed = [
        f"{site}: the search misses {value.share_in_words} and {value.missed_paths_share:.1%} of "
        f"its paths (estimated on {value.num_ues} UEs by {value.search_in_words})."
        for site, value in sorted(manifest.completeness.items())
    ]
    return [*found, *(sentence(note) for note in manifest.notes), *missed]


def biases(manifest: Manifest) -> list[str]:
    """Return the biases of one dataset, from how its UEs and scenes were chosen."""
    scenes = ", ".join(dict.fromkeys(site.scene for site in manifest.sites))
    return [BIAS_OF_SCENES.format(scenes=scenes), manifest.campaign.sampling.bias]


def sentence(note: str) -> str:
    """Return a note with a capital and a full stop."""
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."


def _kept(tracer: TracerSettings) -> str:
    longest_m, share = tracer.max_path_length_m, tracer.kept_power_share
    which = "" if longest_m is None else f" of up to {longest_m:g} m"
    strongest = (
        "" if share is None else f", the strongest that hold {100 * share:g} % of its power,"
    )
    return (
        f"At most {tracer.max_num_paths} paths{which} are kept for a link{strongest} and what was "
        "dropped is counted for each link."
    )


def _propagation(tracer: TracerSettings) -> str:
    kinds = {
        "specular reflection": tracer.specular_reflection,
        "first-order diffraction": tracer.diffraction,
        "transmission through walls": tracer.refraction,
        "diffuse scattering": tracer.diffuse_reflection,
    }
    traced = ", ".join(name for name, is_on in kinds.items() if is_on)
    left_out = ", ".join(name for name, is_on in kinds.items() if not is_on)
    return (
        f"Traced beside the direct path: {traced or 'nothing'}, with at most {tracer.max_depth} "
        f"interactions; not traced: {left_out or 'none of the kinds that raymark knows'}."
    )
