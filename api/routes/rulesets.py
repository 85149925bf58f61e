"""Rulesets, their versions and rules, and the entry points of phases."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Response

from api import rulesets
from api.access.caller import Reader
from api.answers import RulesetAnswer, RulesetSummary
from api.bodies import EntryPointBody, PlacedRuleBody, RulesetBody, RulesetUpdateBody
from api.changes import Change, Documents
from api.documents import Phase, Ruleset
from api.envelope import Envelope, answer, documented
from api.errors import not_found
from api.routes.dependencies import TheNode
from api.routes.parameters import Cursor, IfMatch, PerPage, TheWrite, Write, cursor_of, text_of

router = APIRouter(prefix="/accounts/{account_id}/rulesets", tags=["rulesets"])

_WRITTEN: Final = documented(404, 409, 412)
_ETAG: Final[dict[str, Any]] = {"headers": {"ETag": {"description": "The version, for `If-Match`", "schema": {"type": "string"}}}}
_NO_ENTRY_POINT: Final = 10003


def _answered(ruleset: Ruleset) -> Response:
    return answer(rulesets.shown(ruleset), headers={"ETag": f'"{ruleset.version}"'})


def _written(change: Change, write: Write) -> Response:
    """The whole ruleset; nothing after a dry run."""
    assert change.ruleset is not None
    return answer(None) if write.dry_run else _answered(change.ruleset)


# -- rulesets ----------------------------------------------------------------------------------------------------------


@router.get("", response_model=Envelope[list[RulesetSummary]], responses=documented(404))
def list_rulesets(node: TheNode, caller: Reader, cursor: Cursor = None, per_page: PerPage = 100) -> Response:
    """The account's rulesets, and the managed ones that it may execute, without their rules."""
    documents = node.documents(caller.account)
    offered = {} if documents.offered is None else documents.offered.rulesets
    following = text_of(cursor)
    found = sorted((each for each in (*documents.rulesets.values(), *offered.values()) if each.id > following), key=lambda each: each.id)
    page = found[:per_page]
    info: dict[str, object] = {"count": len(page), "per_page": per_page}
    if len(found) > per_page:
        after = cursor_of(page[-1].id)
        info |= {"cursor": after, "cursors": {"after": after}}
    return answer([rulesets.shown(each, rules=False) for each in page], result_info=info)


@router.post("", response_model=Envelope[RulesetAnswer], responses=documented(404, 409))
async def create_ruleset(write: TheWrite, body: RulesetBody) -> Response:
    """A new ruleset. One of kind `root` is its phase's entry point: its rules are enforced at once."""
    return _written(await write(lambda documents: rulesets.create(documents, body)), write)


@router.get("/{ruleset_id}", response_model=Envelope[RulesetAnswer], responses=documented(404) | {200: _ETAG})
def get_ruleset(node: TheNode, caller: Reader, ruleset_id: str) -> Response:
    return _answered(rulesets.find(node.documents(caller.account), ruleset_id))


@router.put("/{ruleset_id}", response_model=Envelope[RulesetAnswer], responses=_WRITTEN)
async def update_ruleset(write: TheWrite, ruleset_id: str, body: RulesetUpdateBody, if_match: IfMatch = None) -> Response:
    """The ruleset's next version. Rules that have the `id` or `ref` of one there are that rule."""
    change = await write(lambda documents: rulesets.update(documents, ruleset_id, body, if_match))
    return _written(change, write)


@router.delete("/{ruleset_id}", status_code=204, response_class=Response, responses=_WRITTEN)
async def delete_ruleset(write: TheWrite, ruleset_id: str, if_match: IfMatch = None) -> Response:
    """Deletes the ruleset with all versions. One that is executed cannot be deleted."""
    await write(lambda documents: rulesets.delete(documents, ruleset_id, if_match))
    return Response(status_code=204)


# -- versions ----------------------------------------------------------------------------------------------------------


@router.get("/{ruleset_id}/versions", response_model=Envelope[list[RulesetSummary]], responses=documented(404))
def list_versions(node: TheNode, caller: Reader, ruleset_id: str) -> Response:
    """The versions that are kept, the first one first, without their rules."""
    return answer([rulesets.shown(each, rules=False) for each in node.versions(caller.account, ruleset_id)])


@router.get("/{ruleset_id}/versions/{version}", response_model=Envelope[RulesetAnswer], responses=documented(404))
def get_version(node: TheNode, caller: Reader, ruleset_id: str, version: str) -> Response:
    return answer(rulesets.shown(node.version(caller.account, ruleset_id, version)))


@router.delete("/{ruleset_id}/versions/{version}", status_code=204, response_class=Response, responses=documented(404, 409))
async def delete_version(write: TheWrite, ruleset_id: str, version: str) -> Response:
    """Deletes a version that is not the latest."""

    def delete(documents: Documents) -> Change:
        found = write.node.version(write.account, ruleset_id, version)
        return rulesets.delete_version(documents, ruleset_id, found.version)

    await write(delete)
    return Response(status_code=204)


# -- rules -------------------------------------------------------------------------------------------------------------


@router.post("/{ruleset_id}/rules", response_model=Envelope[RulesetAnswer], responses=_WRITTEN)
async def create_rule(write: TheWrite, ruleset_id: str, body: PlacedRuleBody, if_match: IfMatch = None) -> Response:
    """Adds a rule, at the end where no `position` is said. Answers the whole ruleset, as all changes of rules do."""
    change = await write(lambda documents: rulesets.add_rule(documents, ruleset_id, body, body.position, if_match))
    return _written(change, write)


@router.patch("/{ruleset_id}/rules/{rule_id}", response_model=Envelope[RulesetAnswer], responses=_WRITTEN)
async def edit_rule(write: TheWrite, ruleset_id: str, rule_id: str, body: PlacedRuleBody, if_match: IfMatch = None) -> Response:
    """Changes what the body says of a rule, and leaves the rest. With nothing but a `position`, moves it."""
    change = await write(lambda documents: rulesets.edit_rule(documents, ruleset_id, rule_id, body, body.position, if_match))
    return _written(change, write)


@router.delete("/{ruleset_id}/rules/{rule_id}", response_model=Envelope[RulesetAnswer], responses=_WRITTEN)
async def delete_rule(write: TheWrite, ruleset_id: str, rule_id: str, if_match: IfMatch = None) -> Response:
    change = await write(lambda documents: rulesets.delete_rule(documents, ruleset_id, rule_id, if_match))
    return _written(change, write)


# -- entry points ------------------------------------------------------------------------------------------------------


def _entry_point(node: TheNode, caller: Reader, phase: Phase) -> Ruleset:
    found = rulesets.entry_point(node.documents(caller.account), phase)
    if found is None:
        raise not_found(f"entry point ruleset of the phase {phase}", code=_NO_ENTRY_POINT)
    return found


@router.get("/phases/{phase}/entrypoint", response_model=Envelope[RulesetAnswer], responses=documented(404) | {200: _ETAG})
def get_entry_point(node: TheNode, caller: Reader, phase: Phase) -> Response:
    """The ruleset that the phase begins with."""
    return _answered(_entry_point(node, caller, phase))


@router.put("/phases/{phase}/entrypoint", response_model=Envelope[RulesetAnswer], responses=_WRITTEN)
async def update_entry_point(write: TheWrite, phase: Phase, body: EntryPointBody, if_match: IfMatch = None) -> Response:
    """Creates or replaces the ruleset that the phase begins with."""
    change = await write(lambda documents: rulesets.put_entry_point(documents, phase, body, if_match))
    return _written(change, write)


@router.get("/phases/{phase}/entrypoint/versions", response_model=Envelope[list[RulesetSummary]], responses=documented(404))
def list_entry_point_versions(node: TheNode, caller: Reader, phase: Phase) -> Response:
    return list_versions(node, caller, _entry_point(node, caller, phase).id)


@router.get("/phases/{phase}/entrypoint/versions/{version}", response_model=Envelope[RulesetAnswer], responses=documented(404))
def get_entry_point_version(node: TheNode, caller: Reader, phase: Phase, version: str) -> Response:
    return get_version(node, caller, _entry_point(node, caller, phase).id, version)
