// A client of the node-opcua stack that looks at the model: structures, enumerations, methods, events, history.
// {url, certificate, key, applicationUri, pki, user, password, namespace}; prints what it saw as JSON.
import * as opcua from "node-opcua-client";
import { OPCUACertificateManager } from "node-opcua-certificate-manager";

const job = JSON.parse(process.argv[2]);
const { OPCUAClient, AttributeIds, DataType, TimestampsToReturn } = opcua;
const client = OPCUAClient.create({
  applicationName: "tickwork-model",
  applicationUri: job.applicationUri,
  securityPolicy: opcua.SecurityPolicy.Basic256Sha256,
  securityMode: opcua.MessageSecurityMode.SignAndEncrypt,
  certificateFile: job.certificate,
  privateKeyFile: job.key,
  clientCertificateManager: new OPCUACertificateManager({ rootFolder: job.pki, automaticallyAcceptUnknownCertificate: true }),
  endpointMustExist: false,
  connectionStrategy: { maxRetry: 1, initialDelay: 100 },
});
const seen = {};
await client.connect(job.url);
const session = await client.createSession({ type: opcua.UserTokenType.UserName, userName: job.user, password: job.password });
const namespaces = await session.readNamespaceArray();
const index = namespaces.indexOf(job.namespace);
const id = (path) => `ns=${index};s=${path}`;
const value = async (path) => (await session.read({ nodeId: id(path), attributeId: AttributeIds.Value })).value;

const di = namespaces.indexOf("http://opcfoundation.org/UA/DI/");
const plc = namespaces.indexOf("http://PLCopen.org/OpcUa/IEC61131-3/");
const path = opcua.makeBrowsePath("RootFolder", `/Objects/${di}:DeviceSet/${index}:water/${plc}:Resources/${index}:Resource/${plc}:Programs/${index}:Main`);
seen.path = (await session.translateBrowsePath(path)).targets.map((one) => one.targetId.toString());

const line = (await value("Main.line")).value;
seen.line = { x: line.a.x, n: Array.from(line.a.n), ends: line.ends.map((one) => one.y), mode: line.mode, name: line.name };
seen.lines = (await value("Main.lines")).value.map((one) => one.y);
const mode = await value("Main.mode");
seen.mode = [mode.value, DataType[mode.dataType]];
seen.grid = { values: Array.from((await value("Main.grid")).value), dimensions: (await value("Main.grid")).dimensions };

line.a.x = 7.5;
line.name = "other";
seen.written = (await session.write({ nodeId: id("Main.line"), attributeId: AttributeIds.Value,
  value: { value: { dataType: DataType.ExtensionObject, value: line } } })).name;

const calls = await session.call([
  { objectId: id("/Node"), methodId: id("/Node/Force"), inputArguments: [
    { dataType: DataType.NodeId, value: opcua.resolveNodeId(id("Main.pressure")) }, { dataType: DataType.Float, value: 4.5 },
    { dataType: DataType.String, value: "peer" }, { dataType: DataType.Double, value: 1000 }] },
  { objectId: id("/Node"), methodId: id("/Node/Force"), inputArguments: [] },
]);
seen.calls = calls.map((one) => one.statusCode.name);

const subscription = await session.createSubscription2({ requestedPublishingInterval: 50, requestedLifetimeCount: 100,
  requestedMaxKeepAliveCount: 10, maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1 });
const filter = opcua.constructEventFilter(["Message", "Severity", "ConditionName", "AckedState.Id", "EventId"]);
const item = await subscription.monitor({ nodeId: "i=2253", attributeId: AttributeIds.EventNotifier },
  { samplingInterval: 0, queueSize: 100, discardOldest: true, filter }, TimestampsToReturn.Both);
const events = [];
const heard = new Promise((resolve) => item.on("changed", (fields) => {
  events.push(fields);
  if (fields[2].value === "High") resolve(fields);
}));
console.log("listening");
const alarm = await Promise.race([heard, new Promise((resolve) => setTimeout(() => resolve(undefined), 10000))]);
seen.alarm = alarm && { message: alarm[0].value.text, severity: alarm[1].value, acked: alarm[3].value };
if (alarm) {
  const code = await session.acknowledgeCondition(id("/Conditions/High"), alarm[4].value, "seen by a peer");
  seen.acknowledged = code.name;
}
await subscription.terminate();

const history = await session.readHistoryValue(id("Main.pressure"), new Date(Date.UTC(2023, 0, 1)), new Date(Date.UTC(2030, 0, 1)));
seen.history = history.historyData.dataValues.length > 0;
const average = await session.readAggregateValue({ nodeId: id("Main.pressure") }, new Date(Date.UTC(2023, 10, 14)),
  new Date(Date.UTC(2023, 10, 15)), opcua.AggregateFunction.TimeAverage, 86400000);
const averages = (Array.isArray(average) ? average[0] : average).historyData.dataValues;
seen.average = averages[0].value.value;
await session.close();
await client.disconnect();
console.log(JSON.stringify(seen));
process.exit(0);
