// <st-editor>: CodeMirror with Structured Text. It lives in a shadow root, so its style sheets are constructed ones and
// the pages keep a policy without inline styles. The textarea inside the element is the fall-back without scripts
// and carries the text of the form.
import { autocompletion, closeBrackets, closeBracketsKeymap, completeAnyWord, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import {
  Decoration, EditorView, ViewPlugin, WidgetType, drawSelection, highlightActiveLine, highlightActiveLineGutter,
  highlightSpecialChars, hoverTooltip, keymap, lineNumbers, rectangularSelection,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { structuredText } from "./st_language.js";

const highlight = HighlightStyle.define([
  { tag: tags.comment, color: "var(--code-comment)", fontStyle: "italic" },
  { tag: tags.controlKeyword, color: "var(--code-keyword)", fontWeight: "600" },
  { tag: tags.definitionKeyword, color: "var(--code-keyword)", fontWeight: "600" },
  { tag: tags.operatorKeyword, color: "var(--code-keyword)" },
  { tag: tags.typeName, color: "var(--code-type)" },
  { tag: [tags.number, tags.literal, tags.atom, tags.string], color: "var(--code-literal)" },
  { tag: tags.standard(tags.variableName), color: "var(--code-type)" },
  { tag: tags.special(tags.name), color: "var(--code-literal)", fontWeight: "600" },
  { tag: tags.meta, color: "var(--code-comment)" },
]);

const theme = EditorView.theme({
  "&": { height: "100%", fontSize: "0.875rem", backgroundColor: "var(--code-page)", color: "var(--text)" },
  "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55" },
  ".cm-content": { caretColor: "var(--text)", padding: "0.5rem 0" },
  ".cm-cursor": { borderLeftColor: "var(--text)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "var(--code-gutter)", color: "var(--muted)", border: "none",
    borderRight: "1px solid var(--line)" },
  ".cm-activeLine": { backgroundColor: "var(--code-active)" },
  ".cm-activeLineGutter": { backgroundColor: "var(--code-active)", color: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground":
    { backgroundColor: "var(--code-selection)" },
  ".cm-selectionMatch": { backgroundColor: "var(--code-match)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--code-match)", outline: "1px solid var(--line-strong)" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--text) 1.5px", textUnderlineOffset: "3px" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline dotted var(--muted) 2px", textUnderlineOffset: "3px" },
  ".cm-gutter-lint": { width: "1.3rem" },
  ".cm-lint-marker": { width: "0.95rem", height: "0.95rem" },
  ".cm-lint-marker-error": { content: "none", background: "var(--text)", borderRadius: "2px", position: "relative" },
  ".cm-lint-marker-error::after": { content: '"✕"', color: "var(--panel)", fontSize: "0.7rem", fontWeight: "600",
    position: "absolute", inset: "0", textAlign: "center", lineHeight: "0.95rem" },
  ".cm-lint-marker-warning": { content: "none", border: "2px solid var(--muted)", borderRadius: "2px" },
  ".cm-tooltip": { backgroundColor: "var(--panel)", color: "var(--text)", border: "1px solid var(--line-strong)",
    borderRadius: "3px", boxShadow: "0 4px 16px rgb(0 0 0 / 0.2)", maxWidth: "min(40rem, 90vw)" },
  ".cm-tooltip-lint": { padding: "0" },
  ".cm-diagnostic": { padding: "0.5rem 0.75rem", borderLeft: "4px solid var(--text)", fontFamily: "var(--sans)",
    fontSize: "0.875rem", whiteSpace: "pre-wrap" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--text)" },
  ".cm-diagnostic-warning": { borderLeftColor: "var(--muted)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--button)", color: "var(--button-text)" },
  ".cm-panels": { backgroundColor: "var(--panel)", color: "var(--text)" },
  ".cm-panels.cm-panels-bottom, .cm-panels.cm-panels-top": { borderColor: "var(--line)" },
  ".cm-textfield": { backgroundColor: "var(--field)", color: "var(--text)", border: "1px solid var(--line-strong)" },
  ".cm-button": { backgroundImage: "none", backgroundColor: "var(--page)", color: "var(--text)", border: "1px solid var(--line-strong)" },
  ".cm-live": { marginLeft: "2rem", padding: "0 0.4rem", color: "var(--live)", fontWeight: "600", userSelect: "none",
    borderLeft: "2px solid var(--line-strong)", whiteSpace: "pre" },
  ".cm-describe": { padding: "0.4rem 0.6rem", maxWidth: "40rem", whiteSpace: "pre-wrap", fontFamily: "var(--mono)", fontSize: "0.85rem" },
  ".cm-executed": { backgroundColor: "var(--code-executed)", boxShadow: "inset 3px 0 0 var(--live)" },
  ".cm-live .name": { color: "var(--muted)", fontWeight: "400" },
});

class LiveValues extends WidgetType {
  constructor(items) {
    super();
    this.items = items;
  }
  eq(other) {
    return JSON.stringify(other.items) === JSON.stringify(this.items);
  }
  toDOM() {
    const line = document.createElement("span");
    line.className = "cm-live";
    line.setAttribute("aria-hidden", "true");
    this.items.forEach(([name, text], index) => {
      if (index) line.append("  ");
      const label = document.createElement("span");
      label.className = "name";
      label.textContent = `${name} `;
      line.append(label, text);
    });
    return line;
  }
  updateDOM(dom) {
    dom.replaceChildren(...this.toDOM().childNodes);
    return true;
  }
}

const setLive = StateEffect.define();
const liveField = StateField.define({
  create: () => Decoration.none,
  update(decorations, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(setLive)) continue;
      const doc = transaction.state.doc;
      return Decoration.set(
        [...effect.value.entries()]
          .filter(([line]) => line >= 1 && line <= doc.lines)
          .sort((a, b) => a[0] - b[0])
          .map(([line, items]) => Decoration.widget({ widget: new LiveValues(items), side: 1 }).range(doc.line(line).to)),
      );
    }
    return decorations.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

const setExecuted = StateEffect.define();
const executedLine = Decoration.line({ class: "cm-executed" });
const executedField = StateField.define({
  create: () => Decoration.none,
  update(decorations, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(setExecuted)) continue;
      const doc = transaction.state.doc;
      const lines = effect.value.filter((line) => line >= 1 && line <= doc.lines).sort((a, b) => a - b);
      return Decoration.set(lines.map((line) => executedLine.range(doc.line(line).from)));
    }
    return decorations.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

// What the page's `help` function answers, from the project's own checker; words of the text where it does not.
function completionsOf(editor) {
  return async (context) => {
    const word = context.matchBefore(/[A-Za-z_][\w]*$/);
    const point = context.matchBefore(/\.$/);
    if (!editor.help || (!word && !point && !context.explicit)) return null;
    const line = context.state.doc.lineAt(context.pos);
    const answer = await editor.help("complete", line.number, context.pos - line.from + 1);
    if (context.aborted || !answer?.choices.length) return null;
    return {
      from: word ? word.from : context.pos,
      validFor: /^\w*$/,
      options: answer.choices.map((choice) => ({
        label: choice.label, detail: choice.detail, info: choice.comment || undefined, apply: choice.insert || choice.label,
        type: KINDS[choice.kind] || "variable",
      })),
    };
  };
}

const KINDS = { keyword: "keyword", function: "function", method: "method", function_block: "class", class: "class", program: "class", type: "type", enum: "enum" };

function hoversOf(editor) {
  return async (view, position) => {
    const line = view.state.doc.lineAt(position);
    const answer = editor.help ? await editor.help("describe", line.number, position - line.from + 1) : null;
    if (!answer?.text) return null;
    return {
      pos: position,
      create() {
        const dom = document.createElement("div");
        dom.className = "cm-describe";
        dom.textContent = answer.text.replace(/^```.*$/gm, "").replace(/\n{3,}/g, "\n\n").trim();
        return { dom };
      },
    };
  };
}

const visibleRange = ViewPlugin.define(() => ({}));

function positions(doc, problem) {
  const line = doc.line(Math.min(Math.max(problem.line || 1, 1), doc.lines));
  const from = Math.min(line.from + Math.max((problem.column || 1) - 1, 0), line.to);
  const to = Math.min(from + Math.max(problem.length || 1, 1), line.to);
  return { from, to: Math.max(from, to) };
}

class StEditor extends HTMLElement {
  connectedCallback() {
    if (this.view) return;
    this.area = this.querySelector("textarea");
    const readOnly = this.hasAttribute("readonly");
    const root = this.attachShadow({ mode: "open" });
    const host = document.createElement("div");
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(":host{display:block;overflow:hidden} div.host{height:100%}");
    root.adoptedStyleSheets = [sheet];
    host.className = "host";
    root.append(host);
    this.view = new EditorView({
      root,
      parent: host,
      state: EditorState.create({
        doc: this.area.value,
        extensions: [
          lineNumbers(), lintGutter(), highlightActiveLineGutter(), highlightSpecialChars(), history(), drawSelection(),
          EditorState.allowMultipleSelections.of(true), indentUnit.of("    "), EditorState.tabSize.of(4), indentOnInput(),
          bracketMatching(), closeBrackets(), rectangularSelection(), highlightActiveLine(), highlightSelectionMatches(),
          search({ top: true }), syntaxHighlighting(highlight), theme, structuredText, liveField, executedField, visibleRange,
          structuredText.data.of({ autocomplete: completeAnyWord }), structuredText.data.of({ autocomplete: completionsOf(this) }),
          autocompletion(), hoverTooltip(hoversOf(this)),
          EditorState.readOnly.of(readOnly), EditorView.editable.of(!readOnly),
          EditorView.contentAttributes.of({ "aria-label": this.getAttribute("label") || "Structured Text", tabindex: "0" }),
          keymap.of([
            { key: "Mod-s", preventDefault: true, run: () => this.announce("st-save") },
            { key: "Escape", run: () => this.leave() },
            ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...completionKeymap,
            ...lintKeymap, indentWithTab,
          ]),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged) return;
            this.area.value = update.state.doc.toString();
            this.announce("st-change");
          }),
        ],
      }),
    });
    this.area.hidden = true;
  }

  disconnectedCallback() {
    this.view?.destroy();
    this.view = null;
  }

  // Tab indents, so a keyboard user needs another way out: Escape, then Tab (WCAG 2.1.2).
  leave() {
    const inside = this.view.contentDOM;
    inside.tabIndex = -1;
    this.tabIndex = -1;
    this.focus();
    this.addEventListener("blur", () => {
      inside.tabIndex = 0;
      this.removeAttribute("tabindex");
    }, { once: true });
    return true;
  }

  announce(name) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true }));
    return true;
  }

  get value() {
    return this.view.state.doc.toString();
  }

  showProblems(problems) {
    const diagnostics = problems.map((problem) => ({
      ...positions(this.view.state.doc, problem),
      severity: problem.severity === "warning" ? "warning" : "error",
      message: problem.text,
      source: problem.code,
    }));
    this.view.dispatch(setDiagnostics(this.view.state, diagnostics));
  }

  showLive(byLine) {
    this.view.dispatch({ effects: setLive.of(byLine) });
  }

  showExecuted(lines) {
    this.view.dispatch({ effects: setExecuted.of(lines) });
  }

  goTo(line, column) {
    const { from } = positions(this.view.state.doc, { line, column });
    this.view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
    this.view.focus();
  }
}

customElements.define("st-editor", StEditor);
