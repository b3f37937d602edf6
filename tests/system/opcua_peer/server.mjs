// A server of the node-opcua stack: {serve: port, certificate, key, pki}. Level counts ten times a second, Setpoint holds what is written.
import { OPCUACertificateManager } from "node-opcua-certificate-manager";
import { DataType, Variant } from "node-opcua-client";
import { OPCUAServer } from "node-opcua-server";

const job = JSON.parse(process.argv[2]);
const server = new OPCUAServer({
  port: job.serve,
  allowAnonymous: true,
  serverInfo: { applicationUri: job.applicationUri },
  certificateFile: job.certificate,
  privateKeyFile: job.key,
  serverCertificateManager: new OPCUACertificateManager({
    rootFolder: job.pki,
    automaticallyAcceptUnknownCertificate: true,
  }),
  userCertificateManager: new OPCUACertificateManager({ rootFolder: `${job.pki}-users` }),
});
await server.initialize();
const space = server.engine.addressSpace.getOwnNamespace();
let level = 0;
let setpoint = 0;
const parts = {
  Level: { get: () => new Variant({ dataType: DataType.Double, value: level }) },
  Setpoint: {
    get: () => new Variant({ dataType: DataType.Double, value: setpoint }),
    set: (variant) => {
      setpoint = variant.value;
      return 0;
    },
  },
};
for (const [name, value] of Object.entries(parts)) {
  space.addVariable({
    organizedBy: server.engine.addressSpace.rootFolder.objects,
    browseName: name,
    nodeId: `s=${name}`,
    dataType: "Double",
    minimumSamplingInterval: 50,
    value,
  });
}
await server.start();
setInterval(() => {
  level += 1;
}, 100);
console.log(JSON.stringify({ serves: job.serve }));
