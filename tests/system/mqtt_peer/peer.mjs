// Other makers' MQTT for the interoperability tests: a broker (aedes), an edge node (sparkplug-client), a listener and
// commander (sparkplug-payload over mqtt). What happens is one JSON object a line; lines on standard input are orders.
import { createRequire } from "node:module";
import { createServer as httpServer } from "node:http";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const [role, ...rest] = process.argv.slice(2);
const plain = (key, value) =>
  typeof value === "bigint" ? Number(value)
    : value && value.constructor && value.constructor.name === "Long" ? value.toNumber()
    : value && value.type === "Buffer" ? value.data
    : value;
const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }, plain));
const orders = (handle) => createInterface({ input: process.stdin }).on("line", (line) => handle(JSON.parse(line)));
process.stdin.on("end", () => process.exit(0));

function broker() {
  const { Aedes } = require("aedes");
  const start = async () => {
    const aedes = Aedes.createBroker ? await Aedes.createBroker() : new Aedes();
    const server = rest[0] === "websockets" ? httpServer() : createServer(aedes.handle);
    if (rest[0] === "websockets") {
      const WebSocket = require("ws");
      const sockets = new WebSocket.Server({ server, path: "/mqtt" });
      sockets.on("connection", (socket) => aedes.handle(WebSocket.createWebSocketStream(socket)));
    }
    server.listen(0, "127.0.0.1", () => say("listening", { port: server.address().port }));
  };
  start();
  process.stdin.resume();
}

function edge() {
  const [url, groupId, edgeNode] = rest;
  const SparkplugClient = require("sparkplug-client");
  const client = SparkplugClient.newClient({
    serverUrl: url, username: "", password: "", groupId, edgeNode, clientId: `tahu-${edgeNode}`,
    version: "spBv1.0", publishDeath: true,
  });
  const values = { temperature: 20.5, count: -5, big: 7, on: false, name: "tahu", at: 1700000000000 };
  const types = { temperature: "Double", count: "Int32", big: "UInt32", on: "Boolean", name: "String", at: "DateTime" };
  const metric = (name) => ({ name, type: types[name], value: values[name], timestamp: Date.now() });
  const options = rest[3] === "compress" ? { compress: true, algorithm: "GZIP" } : {};
  const birth = () => {
    client.publishNodeBirth({
      timestamp: Date.now(),
      metrics: [
        { name: "Node Control/Rebirth", type: "Boolean", value: false, timestamp: Date.now() },
        {
          name: "Motor", type: "Template", timestamp: Date.now(),
          value: { isDefinition: true, version: "1", metrics: [{ name: "speed", type: "Float", value: 0 }], parameters: [] },
        },
        {
          name: "motor", type: "Template", timestamp: Date.now(),
          value: { isDefinition: false, templateRef: "Motor", metrics: [{ name: "speed", type: "Float", value: 1.5 }], parameters: [] },
        },
        ...Object.keys(types).map(metric),
      ],
    }, options);
    client.publishDeviceBirth("tank", { timestamp: Date.now(), metrics: [{ name: "level", type: "Float", value: 2.5, timestamp: Date.now() }] });
    say("born");
  };
  client.on("birth", birth);
  client.on("ncmd", (payload) => {
    for (const one of payload.metrics) {
      say("ncmd", { name: one.name, value: one.value });
      if (one.name === "Node Control/Rebirth") birth();
      else if (one.name in values) {
        values[one.name] = one.value;
        client.publishNodeData({ timestamp: Date.now(), metrics: [metric(one.name)] });
      }
    }
  });
  orders(({ name, value }) => {
    if (name === "stop") return client.stop();
    values[name] = value;
    client.publishNodeData({ timestamp: Date.now(), metrics: [metric(name)] }, options);
  });
}

function look() {
  const [url, group] = rest;
  const mqtt = require("mqtt");
  const { encodePayload, decodePayload } = require("sparkplug-payload").get("spBv1.0");
  const client = mqtt.connect(url, { clientId: "tahu-look" });
  client.on("connect", () => client.subscribe(`spBv1.0/${group}/#`, () => say("ready")));
  client.on("message", (topic, data) => {
    const payload = decodePayload(data);
    say("message", { topic, seq: payload.seq, metrics: payload.metrics });
  });
  orders(({ topic, metrics }) => client.publish(topic, Buffer.from(encodePayload({ timestamp: Date.now(), metrics }))));
}

({ broker, edge, look })[role]();
