"""What clients send about rulesets and lists: every key that is taken, and its type. An unknown key is refused."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.documents import Kind, Phase

Text = Annotated[str, Field(max_length=1_000)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Reference = Annotated[str, Field(min_length=1, max_length=255)]
ObjectId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="32 hexadecimal digits")]
OverridingAction = Literal["block", "log"]
ListName = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$", max_length=50)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CategoryOverride(Body):
    category: Name
    action: OverridingAction | None = None
    enabled: bool | None = None


class RuleOverride(Body):
    id: Reference = Field(description="The rule's id, or its ref")
    action: OverridingAction | None = None
    enabled: bool | None = None


class Overrides(Body):
    """What is executed in another way than the executed ruleset says: of a rule, else of a category, else of all rules."""

    action: OverridingAction | None = None
    enabled: bool | None = None
    categories: list[CategoryOverride] = Field(default=[], max_length=1_000)
    rules: list[RuleOverride] = Field(default=[], max_length=1_000)


class ActionParameters(Body):
    """`ruleset` of a skip; `id` and `overrides` of an execute. Other actions have none."""

    ruleset: Literal["current"] | None = None
    id: ObjectId | None = None
    overrides: Overrides | None = None


class Logging(Body):
    enabled: bool = Field(description="Whether a match is logged as well")


class RateLimit(Body):
    characteristics: list[str] = Field(min_length=1, max_length=10)
    period: int = Field(ge=1, le=86_400, description="Seconds")
    requests_per_period: int = Field(ge=1, le=1_000_000_000)
    mitigation_timeout: int = Field(default=0, ge=0, le=86_400, description="Seconds")
    counting_expression: str | None = None


class RuleBody(Body):
    """A rule. What the server says of one besides (`version`, `last_updated`) may be sent back and is not looked at."""

    id: ObjectId | None = None
    version: str | None = None
    last_updated: str | None = None
    action: Literal["block", "skip", "log", "execute"] | None = None
    action_parameters: ActionParameters | None = None
    categories: list[Name] | None = Field(default=None, max_length=100)
    description: Text | None = None
    enabled: bool | None = None
    expression: str | None = None
    logging: Logging | None = None
    ratelimit: RateLimit | None = None
    ref: Reference | None = None


class Position(Body):
    """Where a rule stands: one of the three."""

    before: str | None = Field(default=None, description="The id of another rule; empty: at the top")
    after: str | None = Field(default=None, description="The id of another rule; empty: at the bottom")
    index: int | None = Field(default=None, ge=1, description="From 1")

    @model_validator(mode="after")
    def one(self) -> Self:
        if sum(place is not None for place in (self.before, self.after, self.index)) != 1:
            raise PydanticCustomError("position", "a position is one of `before`, `after` and `index`")
        return self


class PlacedRuleBody(RuleBody):
    position: Position | None = None


class RulesetBody(Body):
    """A new ruleset."""

    name: Name
    kind: Kind
    phase: Phase
    description: Text = ""
    rules: list[RuleBody] = []


class RulesetUpdateBody(Body):
    """A ruleset's next version. `name`, `kind` and `phase` may be said again, and never change; what is not said stays."""

    id: ObjectId | None = None
    version: str | None = None
    last_updated: str | None = None
    name: Name | None = None
    kind: Kind | None = None
    phase: Phase | None = None
    description: Text | None = None
    rules: list[RuleBody] | None = None


class EntryPointBody(Body):
    """A phase's entry point, which has no name or kind to choose."""

    description: Text | None = None
    rules: list[RuleBody] | None = None


class ListBody(Body):
    """A new list. A rule names it as `$name`."""

    name: ListName
    kind: Literal["ip"]
    description: Text = ""


class ListUpdateBody(Body):
    description: Text = ""


class ItemBody(Body):
    ip: str = Field(max_length=100, description="An IPv4 or IPv6 address or CIDR")
    comment: Text | None = None


class ItemReference(Body):
    id: str


class ItemsDeleteBody(Body):
    items: list[ItemReference] = Field(min_length=1)
