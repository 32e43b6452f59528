"""Ray tracing with Sionna RT; the only package that imports sionna, mitsuba and drjit.

Nothing is imported here, so that `runtime` can be asked before the ray tracer is loaded.
"""
