"""Ray tracing with Sionna RT; the only package that imports sionna, mitsuba and drjit."""
