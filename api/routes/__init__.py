"""The routes, a file for each kind of resource."""

from fastapi import APIRouter

from api.routes import health

BELOW_BASE: tuple[APIRouter, ...] = ()
"""Routes under `/client/v4`, for bearers of a token; the first that fits a path answers."""
OUTSIDE: tuple[APIRouter, ...] = (health.router,)
"""Routes of the node itself."""
