"""Errors against their tolerances."""
from typing import Any, Dict


def verdict(errors: Dict[str, float], tolerances: Dict[str, float]) -> Dict[str, Any]:
    """Return the errors, and whether each is within its tolerance; NaN is not."""
    return dict(errors, passed=all(error <= tolerances[name] for name, error in errors.items()))
