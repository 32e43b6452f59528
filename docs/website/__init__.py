"""The site: pages that are made from sources, links between them, and checks of what was built."""
