"""Scenes whose map is wrong as real maps are, made from scenes whose map is right."""

from raymark.scenes.degrading.grades import GRADES, SIZE_SOURCES, Grade, get_grade
from raymark.scenes.degrading.report import DegradeReport

__all__ = ["GRADES", "SIZE_SOURCES", "DegradeReport", "Grade", "get_grade"]
