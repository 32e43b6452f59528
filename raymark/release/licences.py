"""Licences and attribution, layer by layer."""

import re

from raymark.dataset import Dataset

ODBL = "ODbL-1.0"
_URLS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    ODBL: "https://opendatacommons.org/licenses/odbl/1-0/",
}
_SPDX = re.compile(r"(?!LicenseRef-|DocumentRef-|unknown$)[A-Za-z0-9][A-Za-z0-9.+-]*")
_HUB_NAMES = {ODBL: "odbl", "ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl"}
# https://huggingface.co/docs/hub/repositories-licenses: those for data, and the two usual ones.
_HUB_IDS = {
    *("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0"),
    *("cdla-sharing-1.0", "odbl", "odc-by", "pddl"),
}


def licence_url(name: str) -> str | None:
    """Return where a licence can be read; nothing if its name is no identifier of SPDX."""
    if _SPDX.fullmatch(name) is None:
        return None
    return _URLS.get(name, f"https://spdx.org/licenses/{name}.html")


def hub_licence(spdx: str) -> dict[str, str]:
    """Return the licence as the front matter of Hugging Face names it; it refuses other names."""
    found = _HUB_NAMES.get(spdx, spdx.lower())
    if found in _HUB_IDS:
        return {"license": found}
    # LICENSES.md is in the same folder; the hub wants a link where it does not know the licence.
    url = licence_url(spdx) or "LICENSES.md"
    return {"license": "other", "license_name": spdx.lower(), "license_link": url}


def attribution_text(dataset: Dataset) -> str:
    """Return `ATTRIBUTION`: whom a user of each scene has to name, and under which licence."""
    scenes = {site.scene: site for site in dataset.manifest.sites}
    lines = []
    for name, site in scenes.items():
        url = licence_url(site.licence)
        licence = f"{site.licence}, {url}" if url else site.licence
        lines.append(f"{name}: {site.attribution} (licence: {licence})")
    return "\n".join(lines) + "\n"
