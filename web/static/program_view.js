// The source of the running program with the newest values beside its lines, or with those of one recorded scan.
(() => {
  "use strict";
  const editor = document.getElementById("running");
  if (!editor?.view) return;
  const lines = JSON.parse(editor.dataset.lines); // [[line, [[name, key], …]], …]
  const values = new Map();
  let drawn = 0;

  function draw() {
    drawn = 0;
    const byLine = new Map();
    for (const [line, items] of lines) {
      const known = items.filter(([, key]) => values.has(key)).map(([name, key]) => [name, values.get(key)]);
      if (known.length) byLine.set(line, known);
    }
    editor.showLive(byLine);
  }

  function follow() {
    const place = /^#L(\d{1,6})$/.exec(location.hash); // as links from alarms have it
    if (place) editor.goTo(Number(place[1]), 1);
  }
  window.addEventListener("hashchange", follow);
  follow();

  if (editor.dataset.frozen) {
    freeze(JSON.parse(editor.dataset.frozen));
    return;
  }

  document.addEventListener("tickwork:tick", (event) => {
    for (const [key, text, quality] of event.detail.c) {
      values.set(key, quality === "b" ? "–" : quality === "s" ? `(${text})` : quality === "u" ? `${text} ?` : quality === "f" ? `F ${text}` : text);
    }
    if (!drawn) drawn = requestAnimationFrame(draw);
  });

  // ---------------------------------------------------------------- a recorded scan

  // Scans that came with the page are stepped through at once; beyond them the link loads the next ones.
  function freeze(scans) {
    let at = scans.findIndex((one) => one.scan === Number(editor.dataset.scan));

    function show() {
      const now = scans[at];
      for (const [path, text] of Object.entries(now.values)) values.set(`t:${path}`, text);
      draw();
      editor.showExecuted(now.lines);
      document.getElementById("frozen-scan").textContent = now.scan;
      document.getElementById("frozen-time").textContent = now.time;
      document.getElementById("frozen-tasks").textContent = now.tasks;
      for (const place of document.querySelectorAll("[data-frozen-scan]")) place.textContent = now.scan;
      for (const field of document.querySelectorAll('input[name="scan"]')) field.value = now.scan;
      for (const row of document.querySelectorAll("[data-frozen-row]")) describe(row, now);
    }

    function describe(row, now) {
      const path = row.dataset.frozenRow;
      const before = scans[at - 1]?.values[path];
      row.querySelector("[data-frozen-value]").textContent = now.values[path] ?? "–";
      row.querySelector("[data-frozen-changed]").textContent = before !== undefined && before !== now.values[path] ? "changed" : "";
      const why = row.querySelector("[data-why]");
      why.href = why.href.replace(/scan=\d+/, `scan=${now.scan}`);
      why.setAttribute("hx-get", why.getAttribute("href"));
    }

    function step(by) {
      if (at < 0 || !scans[at + by]) return false;
      at += by;
      show();
      const url = new URL(location.href);
      for (const name of ["time", "when", "line"]) url.searchParams.delete(name);
      url.searchParams.set("scan", scans[at].scan);
      history.replaceState(null, "", url);
      return true;
    }

    document.addEventListener("click", (event) => {
      const link = event.target.closest("[data-step]");
      const by = link ? Number(link.dataset.step) : 0;
      if (Math.abs(by) === 1 && step(by)) {
        event.preventDefault();
      } else if (link && at >= 0) {
        event.preventDefault();
        const url = new URL(link.href);
        url.searchParams.set("scan", Math.max(1, scans[at].scan + by));
        location.assign(url);
      }
    });
    document.addEventListener("keydown", (event) => {
      if (!event.altKey || event.target.closest("input, textarea")) return;
      if (event.key === "," || event.key === ".") {
        event.preventDefault();
        document.querySelector(`[data-step="${event.key === "," ? -1 : 1}"]`)?.click();
      }
    });
    if (at >= 0) show();
    const line = Number(editor.dataset.line);
    if (line) editor.goTo(line, 1);
  }
})();
