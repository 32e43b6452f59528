"""The responsible-AI and provenance terms of `croissant.json`."""

from typing import Any

from raymark.dataset.manifest import Manifest, SiteRecord
from raymark.release import statements
from raymark.release.citation import SIONNA_RT_URL
from raymark.release.licences import licence_url

_SOURCES = {"OpenStreetMap": "https://www.openstreetmap.org", "Sionna RT": SIONNA_RT_URL}
"""Where scenes come from, by a name that their attribution holds."""


def responsible_ai(manifest: Manifest) -> dict[str, Any]:
    """Return the terms of Croissant RAI 1.0."""
    return {
        "rai:hasSyntheticData": True,
        "rai:dataCollection": "Simulated by ray tracing, see prov:wasGeneratedBy.",
        "rai:dataCollectionType": ["Simulations"],
        "rai:dataCollectionMissingData": statements.MISSING_DATA,
        "rai:dataPreprocessingProtocol": [statements.PREPROCESSING],
        "rai:dataAnnotationProtocol": statements.ANNOTATION,
        "rai:dataLimitations": statements.limitations(manifest),
        "rai:dataBiases": statements.biases(manifest),
        "rai:dataUseCases": list(statements.USE_CASES),
        "rai:dataSocialImpact": statements.SOCIAL_IMPACT,
        "rai:personalSensitiveInformation": [manifest.campaign.sampling.personal_information],
        "rai:dataReleaseMaintenancePlan": statements.MAINTENANCE,
    }


def provenance(manifest: Manifest) -> dict[str, Any]:
    """Return from which scenes a dataset was made, and by which programs (W3C PROV-O)."""
    scenes = {site.scene: site for site in manifest.sites}
    return {
        "prov:wasDerivedFrom": [_source(name, site) for name, site in scenes.items()],
        "prov:wasGeneratedBy": [_activity(manifest)],
    }


def source_urls(site: SiteRecord) -> list[str]:
    """Return where the scene of a site comes from, as far as its attribution tells."""
    return [url for text, url in _SOURCES.items() if text in site.attribution]


def _source(name: str, site: SiteRecord) -> dict[str, Any]:
    found = {
        "@type": "prov:Entity",
        "prov:label": f"scene {name}: {site.attribution}",
        "sc:identifier": f"sha256:{site.scene_hash}",
        "sc:license": licence_url(site.licence) or site.licence,
    }
    urls = [{"@id": url} for url in source_urls(site)]
    return found | ({"prov:wasDerivedFrom": urls} if urls else {})


def _activity(manifest: Manifest) -> dict[str, Any]:
    software = dict(sorted(manifest.software.items()))
    agents = [f"raymark {software['raymark']}"]
    source = manifest.campaign.sampling.imported_from
    if source is not None:
        agents.append(source)
        text = "Paths of another program, imported with raymark."
    else:
        agents.append(f"Sionna RT {software['sionna-rt']}")
        text = ", ".join(f"{name} {version}" for name, version in software.items())
    return {
        "@type": "prov:Activity",
        "prov:label": f"campaign {manifest.campaign.name}, config {manifest.config_hash}",
        "sc:description": text,
        "prov:wasAssociatedWith": [
            {"@type": "prov:SoftwareAgent", "prov:label": agent} for agent in agents
        ],
    }
