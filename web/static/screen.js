// Keeps a screen's drawing at the values of now. What an element shows is decided by its attributes, in the same way as
// supervisor/pages/screen_drawing.py decides it for the first paint.
(() => {
  "use strict";

  const WORDS = new Set(["off", "on", "open", "closed", "moving", "low", "high", "warning", "fault", "hidden"]);
  const PLAIN = [["FALSE", "off"], ["0", "off"], ["TRUE", "on"]];
  const elements = new Map();
  for (const element of document.querySelectorAll("[data-mimic]")) {
    const list = elements.get(element.dataset.mimic);
    list ? list.push(element) : elements.set(element.dataset.mimic, [element]);
  }

  const numberOf = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

  function stateOf(states, text) {
    let pairs = (states || "").split(/\s+/).filter(Boolean).map((part) => {
      const at = part.lastIndexOf(":");
      const word = part.slice(at + 1);
      return [part.slice(0, at), WORDS.has(word) ? word : "on"];
    });
    if (!pairs.length) pairs = PLAIN;
    const exact = pairs.find(([bound]) => bound === text);
    if (exact) return exact[1];
    const number = numberOf(text);
    if (number === null) return "";
    let found = "";
    for (const [bound, word] of pairs) {
      const least = numberOf(bound);
      if (least !== null && number >= least) found = word;
    }
    return found;
  }

  function fill(element, text) {
    const low = Number(element.dataset.low);
    const high = Number(element.dataset.high);
    const [at, whole] = element.dataset.box.split(" ").map(Number);
    const number = numberOf(text);
    const share = number === null || high <= low ? 0 : Math.min(Math.max((number - low) / (high - low), 0), 1);
    if (element.dataset.axis === "x") {
      element.setAttribute("width", (whole * share).toFixed(2));
    } else {
      element.setAttribute("height", (whole * share).toFixed(2));
      element.setAttribute("y", (at + whole * (1 - share)).toFixed(2));
    }
  }

  function show(element, text, quality) {
    if (element.dataset.q !== quality) element.dataset.q = quality;
    const kind = element.dataset.bind;
    if (kind === "text") {
      const words = text + (element.dataset.suffix || "");
      if (element.textContent !== words) element.textContent = words;
    } else if (kind === "level") {
      fill(element, text);
    } else if (kind) {
      const state = stateOf(element.dataset.states, text);
      if (element.dataset.state !== state) element.dataset.state = state;
    }
  }

  document.addEventListener("tickwork:tick", (event) => {
    for (const [key, text, quality] of event.detail.c) for (const element of elements.get(key) || []) show(element, text, quality);
  });
})();
