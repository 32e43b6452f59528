"""What a reader must know of any simulated radio dataset; the documents of a release share it."""

from raymark.campaign import ImportedSampling
from raymark.manifest import Manifest

LIMITATIONS = (
    "Simulated: ray tracing in simplified models of places; no measurement was made, and no claim "
    "is tested against one. Models trained here may fail on real channels.",
    "Buildings have flat walls and nominal ITU-R P.2040 materials; there is no vegetation, no "
    "traffic, furniture, weather or moving person.",
    "Base stations, their heights, arrays, downtilts and noise figures are assumed, not those of "
    "any operator.",
    "At most {max_num_paths} paths of up to {max_path_length_m:g} m are kept for a link; what was "
    "dropped is stored for each link.",
)
IMPORTED_LIMITATION = (
    "The paths were made by another program ({source}); raymark checked them against physical laws "
    "and cannot trace them again."
)
BIASES = (
    "The scenes are a few dense urban layouts; results say little about suburbs, indoor places or "
    "other kinds of cities.",
    "UEs stand outdoors at one height above ground; positions are drawn within the sectors of the "
    "base stations and do not follow where people are.",
)
USE_CASES = (
    "Training and comparing models that locate a UE from its channel, on the published splits.",
    "Studying how carrier, line of sight and multipath affect localization.",
    "Not for planning of networks, for certifying safety, or for statements on real people.",
)
SOCIAL_IMPACT = (
    "Localization by radio can help in emergencies and can be used to track people without their "
    "knowledge. The data hold no person, device or operator; methods that were tuned on them "
    "should be judged with both uses in mind."
)
PERSONAL_INFORMATION = (
    "None: all UEs are drawn by a random number generator or were made by another simulation.",
)
MAINTENANCE = (
    "Releases are never changed: an error leads to a new version, and the old one names what "
    "supersedes it. `raymark release diff` shows what changed."
)


def limitations(manifest: Manifest) -> list[str]:
    """Return the limitations of one dataset, with its own figures."""
    tracer, sampling = manifest.campaign.tracer, manifest.campaign.sampling
    limits = {
        "max_num_paths": tracer.max_num_paths,
        "max_path_length_m": tracer.max_path_length_m,
    }
    found = [text.format(**limits) for text in LIMITATIONS]
    if isinstance(sampling, ImportedSampling):
        found.append(IMPORTED_LIMITATION.format(source=sampling.source))
    missed = [
        f"{site}: the search misses about {value.missed_power_share:.2%} of a UE's power and "
        f"{value.missed_paths_share:.1%} of its paths."
        for site, value in manifest.completeness.items()
    ]
    return [*found, *manifest.notes, *missed]
