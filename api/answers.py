"""What clients are answered about rulesets and lists, for the OpenAPI document; `shown` of `rulesets` and `lists` makes it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.bodies import ActionParameters, Logging, RateLimit
from api.documents import Kind, Phase


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RuleAnswer(Answer):
    id: str
    version: str
    action: Literal["block", "skip", "log", "execute"]
    expression: str
    description: str
    enabled: bool
    ref: str
    last_updated: datetime
    action_parameters: ActionParameters | None = None
    categories: list[str] | None = None
    logging: Logging | None = None
    ratelimit: RateLimit | None = None


class RulesetSummary(Answer):
    id: str
    name: str
    description: str
    kind: Kind
    phase: Phase
    version: str = Field(description='From "1", one more with every change')
    last_updated: datetime


class RulesetAnswer(RulesetSummary):
    rules: list[RuleAnswer]


class ListAnswer(Answer):
    id: str
    name: str
    description: str
    kind: Literal["ip"]
    num_items: int
    num_referencing_filters: int = Field(description="How many rules name the list")
    created_on: datetime
    modified_on: datetime


class DeletedAnswer(Answer):
    id: str


class ItemAnswer(Answer):
    id: str
    ip: str
    created_on: datetime
    modified_on: datetime
    comment: str | None = None


class OperationReference(Answer):
    operation_id: str


class OperationAnswer(Answer):
    id: str
    status: Literal["pending", "running", "completed", "failed"]
    completed: datetime | None = None
    error: str | None = None
