"""The routes, a file for each kind of resource."""

from fastapi import APIRouter

from api.routes import counters, documentation, events, health, lists, nodes, pcaps, replay, rulesets

BELOW_BASE: tuple[APIRouter, ...] = (
    rulesets.router,
    lists.router,
    counters.router,
    replay.router,
    pcaps.router,
    events.router,
    nodes.router,
)
"""Routes under `/client/v4`, for bearers of a token; the first that fits a path answers."""
OUTSIDE: tuple[APIRouter, ...] = (health.router, documentation.router)
"""Routes of the node itself."""
