"""The internals of asyncua that the server and the client driver stand on: this fails first when one of them moves."""

import importlib.metadata
import inspect
from typing import Any

import pytest
from asyncua import Client, Server
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.crypto import uacrypto
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.uaprocessor import UaProcessor

# (owner, name): the parameters that we pass or override, in order.
USED: list[tuple[Any, str, list[str]]] = [
    (UaProcessor, "__init__", ["internal_server", "transport", "limits"]),
    (UaProcessor, "process", ["header", "body"]),
    (UaProcessor, "process_message", ["seqhdr", "body"]),
    (UaProcessor, "_process_message", ["typeid", "requesthdr", "seqhdr", "body"]),
    (UaProcessor, "open_secure_channel", ["algohdr", "seqhdr", "body"]),
    (UaProcessor, "send_response", ["requesthandle", "seqhdr", "response", "msgtype"]),
    (UaProcessor, "set_policies", ["policies"]),
    (UaProcessor, "get_publish_request", ["subscription_id"]),
    (UaProcessor, "forward_publish_response", ["result", "requestdata"]),
    (UaProcessor, "_session_watchdog_loop", []),
    (OPCUAProtocol, "__init__", ["iserver", "policies", "clients", "closing_tasks", "limits"]),
    (OPCUAProtocol, "connection_made", ["transport"]),
    (OPCUAProtocol, "data_received", ["data"]),
    (OPCUAProtocol, "_process_one_msg", ["header", "buf"]),
    (BinaryServer, "__init__", ["internal_server", "hostname", "port", "limits"]),
    (BinaryServer, "_make_protocol", []),
    (SecureConnection, "select_policy", ["uri", "peer_certificate", "mode"]),
    (SecureConnection, "open", ["params", "server"]),
    (SecureConnection, "is_open", []),
    (InternalServer, "create_session", ["name", "user", "external"]),
    (InternalServer, "lookup_external_session", ["auth_token"]),
    (InternalServer, "register_external_session", ["session"]),
    (InternalServer, "unregister_external_session", ["session"]),
    (InternalServer, "decrypt_user_token", ["isession", "token"]),
    (InternalServer, "verify_x509_token", ["isession", "token", "signature"]),
    (InternalServer, "_mangle_endpoint_url", ["ep_url", "params_ep_url", "sockname"]),
    (InternalSession, "activate_session", ["params", "peer_certificate"]),
    (InternalSession, "is_activated", []),
    (Server, "_setup_server_nodes", []),
    (Server, "_get_bind_socket_info", []),
    (Client, "connect", ["auto_reconnect", "reconnect_max_delay", "reconnect_request_timeout"]),
    (Client, "connect_and_get_server_endpoints", []),
    (UaClient, "create_subscription", ["params", "callback"]),
    (UaClient, "create_monitored_items", ["params"]),
    (UaClient, "read", ["parameters"]),
    (UaClient, "write", ["params"]),
    (UaSession, "create_subscription", ["params", "callback"]),
    (UASocketProtocol, "disconnect_socket", []),
    (uacrypto, "decrypt_rsa_oaep", ["private_key", "data"]),
    (uacrypto, "decrypt_rsa_oaep_sha256", ["private_key", "data"]),
    (uacrypto, "verify_sha256", ["certificate", "data", "signature"]),
    (uacrypto, "verify_pss_sha256", ["certificate", "data", "signature"]),
]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"), USED, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_internals_when_used_then_have_the_parameters_that_we_rely_on(
    owner: object, name: str, parameters: list[str]
) -> None:
    found = [one for one in inspect.signature(getattr(owner, name)).parameters if one != "self"]
    assert found == parameters


def test_library_when_installed_then_is_of_the_line_that_was_examined() -> None:
    major, minor = importlib.metadata.version("asyncua").split(".")[:2]
    assert (int(major), int(minor)) == (2, 1)


@pytest.mark.parametrize(
    "name",
    [
        "_publish_requests",
        "_session_watchdog_task",
        "_connection",
        "_limits",
        "_closing",
        "session_last_activity",
    ],
)
def test_processor_when_made_then_has_the_fields_that_we_use(name: str) -> None:
    assert name in inspect.getsource(UaProcessor.__init__)


def test_limits_when_negotiated_then_are_kept_in_the_fields_that_we_change() -> None:
    limits = TransportLimits(1, 2, 3, 4)
    assert (
        limits.max_recv_buffer,
        limits.max_send_buffer,
        limits.max_chunk_count,
        limits.max_message_size,
    ) == (1, 2, 3, 4)
