"""Lists of addresses, their items, and the operations on these."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from api import lists
from api.access.caller import Reader
from api.answers import DeletedAnswer, ItemAnswer, ListAnswer, OperationAnswer, OperationReference
from api.bodies import ItemBody, ItemsDeleteBody, ListBody, ListUpdateBody
from api.changes import Change
from api.documents import Items
from api.envelope import Envelope, answer, documented
from api.errors import not_found
from api.routes.dependencies import TheNode
from api.routes.parameters import Cursor, PerPage, TheWrite, Write

router = APIRouter(prefix="/accounts/{account_id}/rules/lists", tags=["lists"])

ManyItems = Annotated[list[ItemBody], Body(max_length=100_000)]


def _written(change: Change, write: Write) -> Response:
    assert change.list is not None
    if write.dry_run:
        return answer(None)
    return answer(lists.shown(change.list, lists.references(change.documents, change.list.name)))


def _operated(change: Change, write: Write) -> Response:
    assert change.operation is not None
    return answer(None if write.dry_run else {"operation_id": change.operation.id})


@router.get("", response_model=Envelope[list[ListAnswer]], responses=documented(404))
def list_lists(node: TheNode, caller: Reader) -> Response:
    documents = node.documents(caller.account)
    found = sorted(documents.lists.values(), key=lambda each: each.name)
    return answer([lists.shown(each, lists.references(documents, each.name)) for each in found])


@router.post("", response_model=Envelope[ListAnswer], responses=documented(404, 409))
async def create_list(write: TheWrite, body: ListBody) -> Response:
    """A new list, empty. Rules name it as `$name`."""
    return _written(await write(lambda documents: lists.create(documents, body)), write)


@router.get("/bulk_operations/{operation_id}", response_model=Envelope[OperationAnswer], responses=documented(404))
def get_bulk_operation(node: TheNode, caller: Reader, operation_id: str) -> Response:
    """What came of a change of a list's items. A change is answered when it is done, so this is `completed`, or `failed` where the
    kernel did not take it after all."""
    return answer(lists.shown_operation(node.operation(caller.account, operation_id)))


@router.get("/{list_id}", response_model=Envelope[ListAnswer], responses=documented(404))
def get_list(node: TheNode, caller: Reader, list_id: str) -> Response:
    documents = node.documents(caller.account)
    found = lists.find(documents, list_id)
    return answer(lists.shown(found, lists.references(documents, found.name)))


@router.put("/{list_id}", response_model=Envelope[ListAnswer], responses=documented(404, 409))
async def update_list(write: TheWrite, list_id: str, body: ListUpdateBody) -> Response:
    """Changes the description."""
    return _written(await write(lambda documents: lists.update(documents, list_id, body)), write)


@router.delete("/{list_id}", response_model=Envelope[DeletedAnswer], responses=documented(404, 409))
async def delete_list(write: TheWrite, list_id: str) -> Response:
    """Deletes a list that no rule names."""
    await write(lambda documents: lists.delete(documents, list_id))
    return answer(None if write.dry_run else {"id": list_id})


@router.get("/{list_id}/items", response_model=Envelope[list[ItemAnswer]], responses=documented(404))
def list_items(
    node: TheNode,
    caller: Reader,
    list_id: str,
    cursor: Cursor = None,
    per_page: PerPage = 500,
    search: Annotated[str | None, Query(max_length=100, description="What the address begins with")] = None,
) -> Response:
    """The items in the order of their addresses."""
    documents = node.documents(caller.account)
    lists.find(documents, list_id)
    found, after = lists.page(documents.items.get(list_id, Items()), cursor=cursor, per_page=per_page, search=search)
    info: dict[str, object] = {"count": len(found), "per_page": per_page, "cursors": {} if after is None else {"after": after}}
    return answer([lists.shown_item(list_id, item) for item in found], result_info=info)


@router.post("/{list_id}/items", response_model=Envelope[OperationReference], responses=documented(404, 409))
async def create_items(write: TheWrite, list_id: str, body: ManyItems) -> Response:
    """Adds items. One that is there already is refused, with all others of the request."""
    return _operated(await write(lambda documents: lists.add_items(documents, list_id, body)), write)


@router.put("/{list_id}/items", response_model=Envelope[OperationReference], responses=documented(404, 409))
async def update_items(write: TheWrite, list_id: str, body: ManyItems) -> Response:
    """Replaces all items."""
    return _operated(await write(lambda documents: lists.replace_items(documents, list_id, body)), write)


@router.delete("/{list_id}/items", response_model=Envelope[OperationReference], responses=documented(404, 409))
async def delete_items(write: TheWrite, list_id: str, body: ItemsDeleteBody) -> Response:
    """Deletes items by their ids."""
    return _operated(await write(lambda documents: lists.delete_items(documents, list_id, body.items)), write)


@router.get("/{list_id}/items/{item_id}", response_model=Envelope[ItemAnswer], responses=documented(404))
def get_item(node: TheNode, caller: Reader, list_id: str, item_id: str) -> Response:
    documents = node.documents(caller.account)
    lists.find(documents, list_id)
    item = next((each for each in documents.items.get(list_id, Items()).items if each.id(list_id) == item_id), None)
    if item is None:
        raise not_found("item")
    return answer(lists.shown_item(list_id, item))
