"""Pydantic models of logging in and of who calls."""

from typing import Literal

from pydantic import BaseModel, Field

from .schemas import example


class SessionCreate(BaseModel):
    """A key to log in with."""

    model_config = example({"key": "darefine_1f6a09c2_..."})
    key: str = Field(max_length=200)


class CallerOut(BaseModel):
    """Who calls, and what they may do."""

    model_config = example({"name": "reading room", "scope": "submit"})
    name: str = Field(description="Of the key; `local` for a call from this machine without one.")
    scope: Literal["read", "submit", "admin"] = Field(description="Each holds those before it.")
