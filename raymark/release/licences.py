"""Licences and attribution, layer by layer."""

from raymark.dataset import Dataset

_URLS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "ODbL-1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
}


def licence_url(spdx: str) -> str:
    """Return where a licence can be read."""
    return _URLS.get(spdx, f"https://spdx.org/licenses/{spdx}.html")


def attribution_text(dataset: Dataset) -> str:
    """Return `ATTRIBUTION`: whom a user of each scene has to name."""
    scenes = {site.scene: site for site in dataset.manifest.sites}
    lines = [f"{name}: {s.attribution} (licence: {s.licence})" for name, s in scenes.items()]
    return "\n".join(lines) + "\n"
