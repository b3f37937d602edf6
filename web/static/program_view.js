// The source of the running program with the newest values beside its lines.
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

  document.addEventListener("tickwork:tick", (event) => {
    for (const [key, text, quality] of event.detail.c) {
      values.set(key, quality === "b" ? "–" : quality === "s" ? `(${text})` : quality === "u" ? `${text} ?` : quality === "f" ? `F ${text}` : text);
    }
    if (!drawn) drawn = requestAnimationFrame(draw);
  });
})();
