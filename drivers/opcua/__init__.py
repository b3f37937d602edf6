"""OPC UA: the server of a node's variables."""

from .certificates import application_uri
from .codes import CODES
from .nodes import namespace_uri
from .server import OpcUaConfig, OpcUaServer
from .users import ROLES, UserFile

__all__ = ["CODES", "ROLES", "OpcUaConfig", "OpcUaServer", "UserFile", "application_uri", "namespace_uri"]
