// Putting symbols on a sheet, moving them, binding them to tags. The drawing that is saved is the SVG on the page
// without the symbols' shapes: those belong to the symbols and are drawn again wherever the screen is shown.
(() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const GRID = 10;
  const HISTORY = 100;
  const form = document.getElementById("screen-form");
  const sheet = document.getElementById("sheet");
  const panel = document.getElementById("properties");
  const hint = document.getElementById("sheet-hint");
  let canvas = sheet.querySelector("svg");
  let chosen = null;
  let drag = null;
  let dirty = false;
  const done = [snapshot()];
  let at = 0;

  // ---------------------------------------------------------------- the drawing as text

  function text() {
    const copy = canvas.cloneNode(true);
    for (const preview of copy.querySelectorAll(".preview")) preview.remove();
    for (const element of copy.querySelectorAll("[data-chosen]")) element.removeAttribute("data-chosen");
    copy.removeAttribute("id");
    copy.removeAttribute("class");
    return new XMLSerializer().serializeToString(copy);
  }

  function changed() {
    done.length = at + 1;
    done.push(snapshot());
    if (done.length > HISTORY) done.shift();
    at = done.length - 1;
    told();
  }

  function snapshot() {
    const copy = canvas.cloneNode(true);
    copy.querySelector("[data-chosen]")?.removeAttribute("data-chosen");
    return [...copy.childNodes];
  }

  function told() {
    dirty = at > 0;
    form.querySelector('[data-do="undo"]').disabled = at === 0;
    form.querySelector('[data-do="redo"]').disabled = at === done.length - 1;
    hint.textContent = dirty ? "Not saved yet" : hint.textContent;
    document.getElementById("svg").value = text();
  }

  function travel(step) {
    const to = at + step;
    if (to < 0 || to >= done.length) return;
    at = to;
    choose(null);
    canvas.replaceChildren(...done[at].map((node) => node.cloneNode(true)));
    told();
  }

  // ---------------------------------------------------------------- choosing

  function target(element) {
    if (!(element instanceof Element) || !canvas.contains(element) || element === canvas) return null;
    return element.closest("[data-symbol]") || element;
  }

  function choose(element) {
    chosen?.removeAttribute("data-chosen");
    chosen = element;
    chosen?.setAttribute("data-chosen", "");
    describe();
  }

  const all = () => [...canvas.querySelectorAll("[data-symbol], [data-tag]:not(.preview *)")];

  // ---------------------------------------------------------------- where things are

  function place(element) {
    const match = /translate\(\s*(-?[\d.]+)[\s,]+(-?[\d.]+)\s*\)(?:\s*scale\(\s*([\d.]+)\s*\))?(?:\s*rotate\(\s*(-?[\d.]+)\s*\))?\s*$/.exec(
      element.getAttribute("transform") || "translate(0 0)",
    );
    return match ? { x: Number(match[1]), y: Number(match[2]), scale: Number(match[3] || 1), turn: Number(match[4] || 0) } : null;
  }

  function move(element, where) {
    let value = `translate(${where.x} ${where.y})`;
    if (where.scale !== 1) value += ` scale(${where.scale})`;
    if (where.turn) value += `${where.scale === 1 ? " scale(1)" : ""} rotate(${where.turn})`;
    element.setAttribute("transform", value);
  }

  function point(event) {
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(canvas.getScreenCTM().inverse());
  }

  const snap = (number) => Math.round(number / GRID) * GRID;

  sheet.addEventListener("pointerdown", (event) => {
    const element = target(event.target);
    choose(element);
    const where = element?.dataset.symbol ? place(element) : null;
    if (!where) return;
    event.preventDefault();
    sheet.focus({ preventScroll: true });
    sheet.setPointerCapture(event.pointerId);
    drag = { element, where, from: point(event), moved: false };
  });
  sheet.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const now = point(event);
    const x = snap(drag.where.x + now.x - drag.from.x);
    const y = snap(drag.where.y + now.y - drag.from.y);
    const before = place(drag.element);
    if (before.x === x && before.y === y) return;
    move(drag.element, { ...drag.where, x, y });
    drag.moved = true;
  });
  sheet.addEventListener("pointerup", () => {
    if (drag?.moved) {
      changed();
      describe();
    }
    drag = null;
  });

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  sheet.addEventListener("keydown", (event) => {
    if (event.key === "Tab") {
      const list = all();
      const next = list.indexOf(chosen) + (event.shiftKey ? -1 : 1);
      if (next < 0 || next >= list.length) return choose(null);
      event.preventDefault();
      choose(list[next]);
    } else if (event.key === "Escape") {
      choose(null);
    } else if ((event.key === "Delete" || event.key === "Backspace") && chosen) {
      event.preventDefault();
      remove();
    } else if (ARROWS[event.key] && chosen?.dataset.symbol) {
      const where = place(chosen);
      if (!where) return;
      event.preventDefault();
      const step = event.shiftKey ? 1 : GRID;
      const [dx, dy] = ARROWS[event.key];
      move(chosen, { ...where, x: where.x + dx * step, y: where.y + dy * step });
      changed();
      describe();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey)) return;
    if (event.key === "s") {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === "z" && !event.target.closest("input, textarea")) {
      event.preventDefault();
      travel(event.shiftKey ? 1 : -1);
    }
  });

  function remove() {
    const element = chosen;
    choose(null);
    element.remove();
    changed();
  }

  // ---------------------------------------------------------------- symbols

  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-add], [data-do]");
    if (!button) return;
    if (button.dataset.do) return travel(button.dataset.do === "undo" ? -1 : 1);
    const box = canvas.viewBox.baseVal;
    const group = document.createElementNS(SVG, "g");
    group.setAttribute("data-symbol", button.dataset.add);
    const count = all().length;
    move(group, { x: snap(box.x + box.width / 2 + (count % 8) * 2 * GRID), y: snap(box.y + box.height / 2 + (count % 8) * 2 * GRID), scale: 1, turn: 0 });
    group.append(button.querySelector(".preview").cloneNode(true));
    canvas.append(group);
    choose(group);
    changed();
    panel.querySelector("input")?.focus();
  });

  // ---------------------------------------------------------------- properties

  function field(name, label, value, set, options = {}) {
    const wrap = document.createElement("div");
    wrap.className = "field";
    const title = document.createElement("label");
    title.htmlFor = `property-${name}`;
    title.textContent = label;
    const input = document.createElement(options.choices ? "select" : "input");
    input.id = `property-${name}`;
    for (const choice of options.choices || []) input.append(new Option(choice || "–", choice));
    if (options.tag) input.setAttribute("list", "tags");
    if (options.number) {
      input.type = "number";
      input.step = "any";
    }
    input.value = value;
    input.autocomplete = "off";
    input.spellcheck = false;
    input.addEventListener("change", () => {
      set(input.value.trim());
      changed();
    });
    wrap.append(title, input);
    panel.append(wrap);
  }

  function attribute(element, name, label, options) {
    field(name, label, element.getAttribute(name) || "", (value) => (value ? element.setAttribute(name, value) : element.removeAttribute(name)), options);
  }

  function describe() {
    panel.replaceChildren();
    if (!chosen) {
      const words = document.createElement("p");
      words.className = "muted";
      words.textContent = "Nothing is chosen.";
      panel.append(words);
      return;
    }
    const button = chosen.dataset.symbol && form.querySelector(`[data-add="${CSS.escape(chosen.dataset.symbol)}"]`);
    const title = document.createElement("h3");
    title.textContent = button ? button.querySelector("span").textContent : `${chosen.tagName} ${chosen.id}`;
    panel.append(title);
    if (button) describeSymbol(chosen, button);
    else describeShape(chosen);
    const away = document.createElement("button");
    away.type = "button";
    away.className = "button small";
    away.textContent = "Remove from the sheet";
    away.addEventListener("click", remove);
    panel.append(away);
  }

  function describeSymbol(element, button) {
    for (const pair of button.dataset.parameters.split(" ")) {
      const [name, kind] = pair.split(":");
      const key = `data-p-${name}`;
      field(key, kind === "tag" ? `${name} (tag)` : name, element.getAttribute(key) || "", (value) => {
        value ? element.setAttribute(key, value) : element.removeAttribute(key);
        if (name === "length") for (const shape of element.querySelectorAll(".preview rect")) shape.setAttribute("width", value || "100");
        if (name === "label") for (const words of element.querySelectorAll(".preview .tw-label, .preview .tw-text, .preview .tw-button-text")) words.textContent = value;
      }, { tag: kind === "tag" });
    }
    const where = place(element);
    if (!where) return;
    for (const [name, label] of [["x", "x"], ["y", "y"], ["scale", "scale"], ["turn", "rotation (°)"]]) {
      field(name, label, where[name], (value) => {
        const number = Number(value);
        if (Number.isFinite(number) && (name !== "scale" || number > 0)) move(element, { ...place(element), [name]: number });
      }, { number: true });
    }
  }

  function describeShape(element) {
    attribute(element, "data-tag", "tag", { tag: true });
    attribute(element, "data-bind", "shows the value as", { choices: ["", "text", "state", "level", "visible"] });
    attribute(element, "data-states", "states, such as 0:off 1:on");
    attribute(element, "data-min", "lowest (level)");
    attribute(element, "data-max", "highest (level)");
    attribute(element, "data-axis", "direction (level)", { choices: ["", "x", "y"] });
    attribute(element, "data-set", "a click offers to write");
  }

  form.addEventListener("submit", () => {
    if (document.activeElement?.id !== "svg" && dirty) document.getElementById("svg").value = text();
    dirty = false;
  });
  window.addEventListener("beforeunload", (event) => {
    if (dirty) event.preventDefault();
  });
})();
