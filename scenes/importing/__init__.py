"""From a map file to a scene folder: read, project, repair, extrude, write."""
