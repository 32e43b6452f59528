"""A scene with its sites, UEs and paths as one interactive 3D page that needs only a browser.

The page draws with three.js (MIT, its notice is in the file), of which `three.min.js` holds what
`three.entry.js` names. It is made by hand when either changes:

    npm install three@0.187.0 esbuild@0.28.2
    npx esbuild three.entry.js --bundle --minify --format=iife --global-name=THREE \
        --target=es2020 --legal-comments=none --banner:js="$(cat BANNER)" --outfile=three.min.js

where BANNER is the comment that the file begins with.
"""

from raymark.viewer.content import (
    LinkPaths,
    LinkPosteriors,
    LocatedLinks,
    SceneTriangles,
    SceneView,
    ViewSite,
    join_links,
    keep_paths,
    take_links,
)
from raymark.viewer.page import render_view, write_view

__all__ = [
    "LinkPaths",
    "LinkPosteriors",
    "LocatedLinks",
    "SceneTriangles",
    "SceneView",
    "ViewSite",
    "join_links",
    "keep_paths",
    "render_view",
    "take_links",
    "write_view",
]
