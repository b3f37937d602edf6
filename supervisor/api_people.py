"""Operations on users, API keys, enrolment tokens and the audit journal."""

from __future__ import annotations

import msgspec

from supervisor.api_call import Call, Items, Operation, Paged, items
from supervisor.model import ApiKey, AuditEntry, AuditVerdict, EnrolmentToken, Role, Secret, User


class NewUser(msgspec.Struct, frozen=True):
    name: str
    password: str
    role: Role
    full_name: str = ""


class UserChange(msgspec.Struct, frozen=True):
    role: Role | None = None
    enabled: bool | None = None


class NewPassword(msgspec.Struct, frozen=True):
    """``old`` is needed for one's own."""

    password: str
    old: str = ""


class NewKey(msgspec.Struct, frozen=True):
    name: str
    role: Role
    expires_days: int = 90
    nodes: tuple[str, ...] = ()


class NewEnrolment(msgspec.Struct, frozen=True):
    """``node``: the name that must enrol with it; any when empty."""

    node: str = ""
    expires_s: int = 3600


class AuditQuery(Paged, frozen=True):
    """The filters are prefixes."""

    who: str = ""
    action: str = ""
    about: str = ""


async def users(call: Call) -> Items[User]:
    return Items(await call.services.people.users(call.actor))


async def create_user(call: Call) -> User:
    new: NewUser = call.body
    return await call.services.people.create_user(
        call.actor, new.name, new.password, new.role, full_name=new.full_name
    )


async def change_user(call: Call) -> User:
    change: UserChange = call.body
    return await call.services.people.change_user(
        call.actor, call.number("user_id"), role=change.role, enabled=change.enabled
    )


async def set_password(call: Call) -> None:
    new: NewPassword = call.body
    await call.services.people.set_password(call.actor, call.number("user_id"), new.password, old=new.old)


async def keys(call: Call) -> Items[ApiKey]:
    return Items(await call.services.people.api_keys(call.actor))


async def create_key(call: Call) -> Secret:
    new: NewKey = call.body
    return await call.services.people.create_api_key(
        call.actor, new.name, new.role, expires_days=new.expires_days, nodes=new.nodes
    )


async def revoke_key(call: Call) -> None:
    await call.services.people.revoke_api_key(call.actor, call.number("key_id"))


async def enrolments(call: Call) -> Items[EnrolmentToken]:
    return Items(await call.services.people.enrolment_tokens(call.actor))


async def create_enrolment(call: Call) -> Secret:
    new: NewEnrolment = call.body
    return await call.services.people.create_enrolment_token(
        call.actor, node=new.node, expires_s=new.expires_s
    )


async def cancel_enrolment(call: Call) -> None:
    await call.services.people.cancel_enrolment_token(call.actor, call.number("token_id"))


async def audit(call: Call) -> Items[AuditEntry]:
    query: AuditQuery = call.query
    found = await call.services.audit.entries(
        call.actor, who=query.who, action=query.action, about=query.about, page=query.page
    )
    return items(found, query.page.limit, lambda entry: entry.id)


async def verify(call: Call) -> AuditVerdict:
    return await call.services.audit.verify(call.actor)


_V, _A = Role.VIEWER, Role.ADMIN
OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/users", _A, "All users", users, Items[User], tag="people"),
    Operation("POST", "/users", _A, "A new user", create_user, User, body=NewUser, status=201, tag="people"),
    Operation(
        "PATCH",
        "/users/{user_id}",
        _A,
        "Change role or state",
        change_user,
        User,
        body=UserChange,
        tag="people",
    ),
    Operation(
        "POST",
        "/users/{user_id}/password",
        _V,
        "Set a password; one's own, or anybody's as administrator",
        set_password,
        body=NewPassword,
        tag="people",
    ),
    Operation("GET", "/keys", _A, "API keys", keys, Items[ApiKey], tag="people"),
    Operation(
        "POST",
        "/keys",
        _A,
        "A new API key, shown once",
        create_key,
        Secret,
        body=NewKey,
        status=201,
        tag="people",
    ),
    Operation("DELETE", "/keys/{key_id}", _A, "Revoke an API key", revoke_key, tag="people"),
    Operation("GET", "/enrolments", _A, "Enrolment tokens", enrolments, Items[EnrolmentToken], tag="people"),
    Operation(
        "POST",
        "/enrolments",
        _A,
        "A one-time enrolment token, shown once",
        create_enrolment,
        Secret,
        body=NewEnrolment,
        status=201,
        tag="people",
    ),
    Operation(
        "DELETE", "/enrolments/{token_id}", _A, "Cancel an unused token", cancel_enrolment, tag="people"
    ),
    Operation(
        "GET",
        "/audit",
        _V,
        "The audit journal, newest first",
        audit,
        Items[AuditEntry],
        AuditQuery,
        tag="audit",
    ),
    Operation(
        "GET", "/audit/verify", _V, "Check the chain of the audit journal", verify, AuditVerdict, tag="audit"
    ),
)
