"""Who may do what over OPC UA: roles in ascending order, and the role that a variable asks for."""

from __future__ import annotations

from scan.abi import Symbol

from .users import ROLES, ROLES_WRITING


def has_role(role: str, least: str) -> bool:
    """Whether a role is at least another; an unknown name is below all."""
    return role in ROLES and least in ROLES and ROLES.index(role) >= ROLES.index(least)


def may_write(role: str, symbol: Symbol) -> bool:
    """Roles that write may; a variable can ask for more, and one that asks for an unknown role lets nobody."""
    if role not in ROLES_WRITING:
        return False
    return not symbol.write_role or has_role(role, symbol.write_role)
