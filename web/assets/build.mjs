// Builds web/static/vendor from the pinned packages of package-lock.json: nothing is loaded from elsewhere at run time.
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const modules = join(root, "node_modules");
const vendor = join(root, "web", "static", "vendor");

const FONTS = [
  ["@fontsource/ibm-plex-sans", "ibm-plex-sans", [400, 500, 600]],
  ["@fontsource/ibm-plex-mono", "ibm-plex-mono", [400, 600]],
];
const ALPHABETS = ["latin", "latin-ext"];

async function scripts() {
  const htmx = join(modules, "htmx.org", "dist");
  const parts = [join(htmx, "htmx.min.js"), join(htmx, "ext", "hx-sse.min.js")];
  const texts = await Promise.all(parts.map((path) => readFile(path, "utf8")));
  const noMaps = texts.map((text) => text.replace(/\n?\/\/# sourceMappingURL=.*$/m, ""));
  await writeFile(join(vendor, "htmx.js"), noMaps.join(";\n"));
  const uplot = join(modules, "uplot", "dist");
  await cp(join(uplot, "uPlot.iife.min.js"), join(vendor, "uplot.js"));
  await cp(join(uplot, "uPlot.min.css"), join(vendor, "uplot.css"));
  await build({
    entryPoints: [join(root, "web", "assets", "editor.js")],
    outfile: join(vendor, "editor.js"),
    bundle: true,
    minify: true,
    format: "iife",
    target: ["es2022"],
    legalComments: "none",
    logLevel: "warning",
  });
}

async function fonts() {
  await mkdir(join(vendor, "fonts"), { recursive: true });
  for (const [packageName, family, weights] of FONTS) {
    for (const weight of weights) {
      for (const alphabet of ALPHABETS) {
        const name = `${family}-${alphabet}-${weight}-normal.woff2`;
        await cp(join(modules, packageName, "files", name), join(vendor, "fonts", name));
      }
    }
  }
}

async function licences() {
  const lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8"));
  const texts = [];
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (!path || entry.dev || entry.optional) continue;
    const folder = join(root, path);
    const names = (await readdir(folder)).filter((name) => /^licen[cs]e/i.test(name));
    const words = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
    texts.push(`${path.replace("node_modules/", "")} ${entry.version} (${entry.license})\n\n${words.join("\n")}`);
  }
  await writeFile(join(vendor, "LICENCES.txt"), texts.join("\n\n----------------------------------------\n\n"));
}

async function manifest() {
  const files = (await readdir(vendor, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(vendor.length + 1))
    .sort();
  const digests = {};
  for (const name of files) {
    digests[name] = createHash("sha256").update(await readFile(join(vendor, name))).digest("hex");
  }
  await writeFile(join(vendor, "manifest.json"), JSON.stringify(digests, null, 1) + "\n");
}

await rm(vendor, { recursive: true, force: true });
await mkdir(vendor, { recursive: true });
await scripts();
await fonts();
await licences();
await manifest();
