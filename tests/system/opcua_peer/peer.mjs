// A client of the node-opcua stack that does what it is told by one JSON argument and prints what it saw as JSON.
// With combinations: [[policy, mode]] it does so over each: {read: [nodeId], write: {node, type, value}, watch: nodeId}, a line for each.
// {url, policy, mode, certificate, key, user, password, browse: nodeId, read: [nodeId], write: [{nodeId, type, value}], watch: {nodeId, count}}
import * as opcua from "node-opcua-client";
import { OPCUACertificateManager } from "node-opcua-certificate-manager";

const job = JSON.parse(process.argv[2]);
const { OPCUAClient, SecurityPolicy, MessageSecurityMode, UserTokenType, AttributeIds, DataType } = opcua;

const makeClient = (policy, mode) =>
  OPCUAClient.create({
    applicationName: "tickwork-peer",
    applicationUri: job.applicationUri,
    securityPolicy: SecurityPolicy[policy],
    securityMode: MessageSecurityMode[mode],
    certificateFile: job.certificate,
    privateKeyFile: job.key,
    clientCertificateManager: new OPCUACertificateManager({
      rootFolder: job.pki,
      automaticallyAcceptUnknownCertificate: true,
    }),
    endpointMustExist: false,
    connectionStrategy: { maxRetry: 1, initialDelay: 100 },
  });

async function over(policy, mode) {
  const seen = { policy, mode, watch: [] };
  const client = makeClient(policy, mode);
  await client.connect(job.url);
  const session = await client.createSession({
    type: UserTokenType.UserName,
    userName: job.user,
    password: job.password,
  });
  const values = await session.read(job.read.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })));
  seen.read = values.map((one) => [one.value.value, one.statusCode.name]);
  const { node, type, value } = job.write;
  const code = await session.write({
    nodeId: node,
    attributeId: AttributeIds.Value,
    value: { value: { dataType: DataType[type], value } },
  });
  seen.write = code.name;
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 50,
    requestedLifetimeCount: 100,
    requestedMaxKeepAliveCount: 10,
    publishingEnabled: true,
  });
  const item = await subscription.monitor(
    { nodeId: job.watch, attributeId: AttributeIds.Value },
    { samplingInterval: 50, queueSize: 10, discardOldest: true },
    opcua.TimestampsToReturn.Both,
  );
  await new Promise((resolve) => {
    item.on("changed", (value) => {
      seen.watch.push(value.value.value);
      if (seen.watch.length >= 3) resolve();
    });
    setTimeout(resolve, 10000);
  });
  await subscription.terminate();
  await session.close();
  await client.disconnect();
  return seen;
}

if (job.combinations) {
  for (const [policy, mode] of job.combinations) {
    const seen = await over(policy, mode).catch((error) => ({ policy, mode, error: String(error) }));
    console.log(JSON.stringify(seen));
  }
  process.exit(0);
}

const client = makeClient(job.policy ?? "Basic256Sha256", job.mode ?? "SignAndEncrypt");
const result = {};
await client.connect(job.url);
const session = await client.createSession(
  job.user ? { type: UserTokenType.UserName, userName: job.user, password: job.password } : undefined,
);
if (job.browse) {
  const found = await session.browse({ nodeId: job.browse, browseDirection: 0, includeSubtypes: true, resultMask: 63 });
  result.browse = found.references.map((one) => ({ name: one.browseName.name, nodeId: one.nodeId.toString() }));
}
if (job.read) {
  const values = await session.read(job.read.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })));
  result.read = values.map((one) => ({
    value: one.value.value,
    type: DataType[one.value.dataType],
    status: one.statusCode.name,
    time: one.sourceTimestamp,
  }));
}
if (job.write) {
  const codes = await session.write(
    job.write.map(({ nodeId, type, value }) => ({
      nodeId,
      attributeId: AttributeIds.Value,
      value: { value: { dataType: DataType[type], value } },
    })),
  );
  result.write = codes.map((code) => code.name);
}
if (job.watch) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 100,
    requestedLifetimeCount: 100,
    requestedMaxKeepAliveCount: 10,
    maxNotificationsPerPublish: 0,
    publishingEnabled: true,
    priority: 1,
  });
  const item = await subscription.monitor(
    { nodeId: job.watch.nodeId, attributeId: AttributeIds.Value },
    { samplingInterval: 100, queueSize: 10, discardOldest: true },
    opcua.TimestampsToReturn.Both,
  );
  result.watch = [];
  await new Promise((resolve) => {
    item.on("changed", (value) => {
      result.watch.push({ value: value.value.value, status: value.statusCode.name });
      if (result.watch.length >= job.watch.count) resolve();
    });
    setTimeout(resolve, job.watch.timeout_ms ?? 10000);
  });
  await subscription.terminate();
}
await session.close();
await client.disconnect();
console.log(JSON.stringify(result));
process.exit(0);
