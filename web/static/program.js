// The program editor: checks while one types, jumps to problems, saves without leaving the page.
(() => {
  "use strict";
  const form = document.getElementById("editor-form");
  const editor = document.querySelector("st-editor");
  if (!form || !editor?.view) return;

  const path = form.elements.path.value;
  const state = document.getElementById("edit-state");
  let saved = editor.value;
  let timer = 0;
  let asked = 0;

  const token = document.querySelector('meta[name="csrf"]').content;

  function post(address, fields) {
    return fetch(address, {
      method: "POST",
      headers: { Accept: "application/json", "X-CSRF-Token": token, "HX-Request": "true" },
      body: new URLSearchParams(fields),
    });
  }

  // Completions and descriptions from the project's own checker; without an answer the editor offers words.
  editor.help = async (what, line, column) => {
    try {
      const response = await post(`${form.dataset.help}${what}`, { path, text: editor.value, line, column });
      return response.ok ? await response.json() : null;
    } catch {
      return null;
    }
  };

  function entry(problem) {
    const link = document.createElement("a");
    link.className = "entry";
    link.href = problem.href;
    Object.assign(link.dataset, { goto: "", file: problem.file, line: problem.line, column: problem.column });
    const where = document.createElement("span");
    where.className = "where mono";
    where.textContent = `${problem.file}:${problem.line}:${problem.column}`;
    const text = document.createElement("span");
    const strong = document.createElement("strong");
    strong.textContent = problem.message;
    const code = document.createElement("span");
    code.className = "small muted mono";
    code.textContent = ` ${problem.code}${problem.severity === "error" ? "" : ` ${problem.severity}`}`;
    text.append(strong, code);
    if (problem.remedy) {
      const remedy = document.createElement("span");
      remedy.className = "remedy";
      remedy.textContent = problem.remedy;
      text.append(remedy);
    }
    link.append(where, text);
    return link;
  }

  function show(problems) {
    editor.showProblems(
      problems.filter((problem) => problem.file === path).map((problem) => ({
        ...problem,
        text: problem.remedy ? `${problem.message}\n${problem.remedy}` : problem.message,
      })),
    );
    for (const count of document.querySelectorAll("[data-count-of]")) {
      const number = problems.filter((problem) => problem.file === count.dataset.countOf && problem.severity === "error").length;
      count.textContent = number ? `✕ ${number}` : "";
    }
  }

  function list(report) {
    const section = document.getElementById("problems");
    section.querySelector("h2").textContent = report.ok && !report.problems.length ? "No problem" : `${report.problems.length} ${report.problems.length === 1 ? "problem" : "problems"}`;
    section.querySelector("header .small").textContent = report.checked;
    section.querySelector(".problem-list")?.remove();
    if (!report.problems.length) return;
    const box = document.createElement("div");
    box.className = "problem-list";
    box.append(...report.problems.map(entry));
    section.append(box);
  }

  async function check() {
    const mine = ++asked;
    try {
      const response = await post(form.dataset.check, { path, text: editor.value });
      if (mine !== asked) return;
      if (!response.ok) throw new Error();
      const report = await response.json();
      if (mine !== asked) return;
      show(report.problems);
      list(report);
      tell();
    } catch {
      if (mine === asked) state.textContent = "The check did not answer.";
    }
  }

  function tell() {
    const dirty = editor.value !== saved;
    state.textContent = dirty ? "not saved" : "saved";
    return dirty;
  }

  async function save() {
    const text = editor.value;
    state.textContent = "saving";
    try {
      const response = await post(form.action, { path, text, draft: form.elements.draft.value });
      const answer = await response.json();
      if (!response.ok) {
        const problem = answer.problems?.[0] || answer;
        state.textContent = "not saved";
        tickwork.say("assertive", `Not saved: ${problem.message || answer.title || "refused"}. ${problem.remedy || ""}`, true);
        return;
      }
      form.elements.draft.value = answer.draft;
      saved = text;
      document.getElementById("draft-state").textContent = answer.state;
      tell();
      tickwork.say("polite", "Saved.");
    } catch {
      state.textContent = "not saved";
      tickwork.say("assertive", "Not saved: the supervisor did not answer.", true);
    }
  }

  editor.addEventListener("st-change", () => {
    tell();
    clearTimeout(timer);
    timer = setTimeout(check, 350);
  });
  editor.addEventListener("st-save", save);
  form.addEventListener("submit", (event) => {
    if (event.submitter?.hasAttribute("data-test")) return; // htmx shows the results below
    event.preventDefault();
    save();
  });
  for (const button of document.querySelectorAll("[data-publish]")) {
    button.form.addEventListener("submit", async (event) => {
      if (editor.value === saved) return;
      event.preventDefault();
      await save();
      if (editor.value === saved) button.form.submit();
    });
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-goto]");
    if (!link || link.dataset.file !== path || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    editor.goTo(Number(link.dataset.line), Number(link.dataset.column));
  });
  addEventListener("beforeunload", (event) => {
    if (editor.value !== saved) event.preventDefault();
  });

  const known = [...document.querySelectorAll("#problems [data-goto]")].map((link) => ({
    file: link.dataset.file, line: Number(link.dataset.line), column: Number(link.dataset.column),
    length: Number(link.dataset.length), severity: link.dataset.severity, code: link.dataset.code, message: link.dataset.text, text: link.dataset.text,
  }));
  if (known.length) show(known);
  const line = Number(form.dataset.line);
  if (line) editor.goTo(line, 1);
})();
