"""A client, or a server, of the open62541 stack (package o6), told what to do by one JSON argument.

Client: {url, certificate, key, trust, applicationUri, user, password, combinations: [[policy, mode]], read: [node],
write: {node, value}, watch: node}. Server: {serve: port, certificate, key, applicationUri, trust}.
Answers are JSON lines. The package ends its process ten minutes after it was imported: a test is over by then.
"""

import contextlib
import json
import sys
import time

with contextlib.redirect_stdout(sys.stderr):
    import o6


def combination(job: dict, policy: str, mode: str) -> dict:
    client = o6.Client(
        job["url"],
        certificate=job["certificate"],
        privateKey=job["key"],
        trustList=[job["trust"]],
        applicationUri=job["applicationUri"],
        securityPolicy=f"http://opcfoundation.org/UA/SecurityPolicy#{policy}",
        securityMode={"Sign": 2, "SignAndEncrypt": 3}[mode],
        username=job["user"],
        password=job["password"],
    )
    seen: dict = {"policy": policy, "mode": mode, "watch": []}
    client.connect()
    try:
        values = client.read(job["read"], valueOnly=False)
        seen["read"] = [[plain(one.value), str(one.status)] for one in values]
        seen["write"] = str(client.write(job["write"]["node"], o6.Float(job["write"]["value"])))
        client.monitor(
            job["watch"],
            lambda value, *_: seen["watch"].append(plain(value)),
            samplingInterval=50.0,
            queueSize=10,
        )
        end = time.monotonic() + 10
        while len(seen["watch"]) < 3 and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        client.disconnect()
    return seen


def plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def serve(job: dict) -> None:
    """Level counts ten times a second; Setpoint holds what is written. Named namespace 1 is the application's."""
    server = o6.Server(
        job["serve"],
        certificate=job["certificate"],
        privateKey=job["key"],
        trustList=[job["trust"]],
        applicationUri=job["applicationUri"],
    )
    for name in ("Level", "Setpoint"):
        server.addVariable(name, server.objectsNode, 0.0, nodeId=f"ns=1;s={name}", writable=True)
    server.start()
    print(json.dumps({"serves": job["serve"]}), flush=True)
    value = 0.0
    while True:
        time.sleep(0.1)
        value += 1
        server.write("ns=1;s=Level", value)


job = json.loads(sys.argv[1])
if "serve" in job:
    serve(job)
for policy, mode in job["combinations"]:
    try:
        print(json.dumps(combination(job, policy, mode)), flush=True)
    except Exception as error:
        print(json.dumps({"policy": policy, "mode": mode, "error": repr(error)}), flush=True)
