// Starts the language server for Structured Text and leaves the rest to the protocol.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = async () => {
  const settings = workspace.getConfiguration("tickwork");
  const [command, ...args] = settings.get("command");
  client = new LanguageClient(
    "tickwork",
    "Tickwork",
    { command, args },
    {
      documentSelector: [{ language: "iecst" }],
      initializationOptions: { dialect: settings.get("dialect") },
      synchronize: { fileEvents: workspace.createFileSystemWatcher("**/*.st") },
    },
  );
  await client.start();
};

exports.deactivate = () => client?.stop();
