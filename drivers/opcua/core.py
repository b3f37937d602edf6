"""asyncua's core with our address space, services and sessions."""

from __future__ import annotations

from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.address_space import MethodService, NodeManagementService, ViewService

from .batches import Batches
from .browsing import View
from .certificates import TrustList
from .history import History
from .methods import Methods
from .plane import Submit, TagAttributes
from .services import table
from .session import Session
from .sessions import StrictCore
from .space import Space
from .subscriptions import TagSubscriptions
from .tags import Tags
from .users import UserManager


class Core(StrictCore):
    """``space`` and what answers from it."""

    session_type = Session

    def __init__(
        self, tags: Tags, submit: Submit, users: UserManager, trust: TrustList | None, history: History
    ) -> None:
        super().__init__(users, trust)
        self.space = space = Space(tags)
        self.aspace = space
        self.attribute_service = TagAttributes(space, submit)
        self.view_service = ViewService(space)
        self.method_service = MethodService(space)
        self.node_mgt_service = NodeManagementService(space)
        self.subscription_service = TagSubscriptions(space, self)
        self.isession.aspace = space
        self.isession.subscription_service = self.subscription_service
        self.view = View(space)
        self.methods = Methods(space)
        self.attribute_service.may_call = self.methods.may_call
        self.history = history
        self.services = table(Batches(tags))
        self.sessions_made = self.sessions_refused = self.security_refused = 0

    def sessions(self) -> list[Session]:
        return [one for one in self._external_sessions.values() if isinstance(one, Session)]

    def create_session(self, name: Any, user: Any = None, external: bool = False) -> Any:
        try:
            made = super().create_session(name, user, external)
        except ServiceError:
            self.sessions_refused += 1
            raise
        self.sessions_made += 1
        return made

    def judge_certificate(self, certificate: bytes) -> None:
        try:
            super().judge_certificate(certificate)
        except ServiceError:
            self.security_refused += 1
            raise

    async def show(self, values: Any) -> None:
        """Values of standard nodes by their number; what asyncua has no node for is left out."""
        for number, variant in values:
            await self.aspace.write_attribute_value(
                ua.NodeId(number), ua.AttributeIds.Value, ua.DataValue(variant)
            )
