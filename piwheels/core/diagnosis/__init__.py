"""Why builds fail, from their logs: classes, rules, and the diagnosis. Pure."""

from piwheels.core.diagnosis.classes import CLASSES, Class, Diagnosis
from piwheels.core.diagnosis.excerpts import excerpt, last_reason
from piwheels.core.diagnosis.finding import diagnose

__all__ = ["CLASSES", "Class", "Diagnosis", "diagnose", "excerpt", "last_reason"]
