// Structured Text (IEC 61131-3 edition 3) for CodeMirror: enough of the lexis to colour, fold and indent while typing.
import { StreamLanguage } from "@codemirror/language";

const words = (text) => new Set(text.trim().split(/\s+/));

const DECLARATION = words(`
  PROGRAM END_PROGRAM FUNCTION END_FUNCTION FUNCTION_BLOCK END_FUNCTION_BLOCK METHOD END_METHOD INTERFACE
  END_INTERFACE CLASS END_CLASS TYPE END_TYPE STRUCT END_STRUCT UNION END_UNION VAR VAR_INPUT VAR_OUTPUT VAR_IN_OUT
  VAR_TEMP VAR_GLOBAL VAR_EXTERNAL VAR_CONFIG VAR_ACCESS END_VAR CONSTANT RETAIN NON_RETAIN PERSISTENT AT
  CONFIGURATION END_CONFIGURATION RESOURCE END_RESOURCE TASK WITH ON NAMESPACE END_NAMESPACE USING EXTENDS
  IMPLEMENTS PUBLIC PRIVATE PROTECTED INTERNAL ABSTRACT FINAL OVERRIDE ARRAY OF REF_TO R_EDGE F_EDGE`);
const CONTROL = words(`
  IF THEN ELSIF ELSE END_IF CASE END_CASE FOR TO BY DO END_FOR WHILE END_WHILE REPEAT UNTIL END_REPEAT EXIT
  CONTINUE RETURN`);
const OPERATOR = words("AND OR XOR NOT MOD");
const TYPE = words(`
  BOOL SINT INT DINT LINT USINT UINT UDINT ULINT BYTE WORD DWORD LWORD REAL LREAL TIME LTIME DATE LDATE
  TIME_OF_DAY TOD LTOD DATE_AND_TIME DT LDT CHAR WCHAR STRING WSTRING POINTER ANY ANY_INT ANY_REAL ANY_NUM ANY_BIT`);
const ATOM = words("TRUE FALSE NULL THIS SUPER");
const STANDARD = words(`
  TON TOF TP CTU CTD CTUD R_TRIG F_TRIG SR RS ABS SQRT LN LOG EXP SIN COS TAN ASIN ACOS ATAN ATAN2 LIMIT MIN MAX
  SEL MUX SHL SHR ROL ROR LEN LEFT RIGHT MID CONCAT INSERT DELETE REPLACE FIND TRUNC EXPT MOVE`);

const OPENS = words(`
  PROGRAM FUNCTION FUNCTION_BLOCK METHOD VAR VAR_INPUT VAR_OUTPUT VAR_IN_OUT VAR_TEMP VAR_GLOBAL VAR_EXTERNAL
  STRUCT TYPE CONFIGURATION RESOURCE IF CASE FOR WHILE REPEAT`);
const CLOSES = /^(END_\w+|UNTIL)$/i;

function comment(stream, state) {
  while (!stream.eol()) {
    if (stream.match(state.comment)) {
      state.comment = null;
      break;
    }
    stream.next();
  }
  return "comment";
}

function string(stream, quote) {
  let escaped = false;
  while (!stream.eol()) {
    const next = stream.next();
    if (next === quote && !escaped) break;
    escaped = next === "$" && !escaped;
  }
  return "string";
}

function word(stream, state) {
  const text = stream.current().toUpperCase();
  if (OPENS.has(text)) state.depth += 1;
  if (CLOSES.test(text) && text !== "UNTIL") state.depth = Math.max(0, state.depth - 1);
  if (CONTROL.has(text)) return "controlKeyword";
  if (DECLARATION.has(text)) return "definitionKeyword";
  if (OPERATOR.has(text)) return "operatorKeyword";
  if (TYPE.has(text)) return "typeName";
  if (ATOM.has(text)) return "atom";
  if (STANDARD.has(text)) return "variableName.standard";
  return stream.match(/^\s*\(/, false) ? "variableName.function" : "variableName";
}

function token(stream, state) {
  if (state.comment) return comment(stream, state);
  if (stream.eatSpace()) return null;
  if (stream.match("//")) {
    stream.skipToEnd();
    return "comment";
  }
  if (stream.match("(*")) {
    state.comment = "*)";
    return comment(stream, state);
  }
  if (stream.match("/*")) {
    state.comment = "*/";
    return comment(stream, state);
  }
  if (stream.match("{")) {
    stream.skipTo("}") ? stream.next() : stream.skipToEnd();
    return "meta";
  }
  if (stream.match(/^%[IQM][XBWDL]?\*?[\d.]*/i)) return "special";
  if (stream.match(/^(L?TIME|T|LT|L?DATE|D|LD|L?TOD|TIME_OF_DAY|L?DT|DATE_AND_TIME)#[\w\d.:+-]+/i)) return "literal";
  if (stream.match(/^(?:[A-Z]+#)?(?:2|8|16)#[0-9A-F_]+/i)) return "number";
  if (stream.match(/^\d[\d_]*(\.\d[\d_]*)?(E[+-]?\d+)?/i)) return "number";
  if (stream.match(/^[A-Z_][A-Z0-9_]*(?=#)/i)) return "typeName";
  const next = stream.next();
  if (next === "'" || next === '"') return string(stream, next);
  if (/[A-Za-z_]/.test(next)) {
    stream.eatWhile(/\w/);
    return word(stream, state);
  }
  if (/[:=<>+\-*/&^]/.test(next)) {
    stream.eatWhile(/[=>?]/);
    return "operator";
  }
  return "punctuation";
}

const DEDENT = /^\s*(END_\w+|ELSE|ELSIF|UNTIL)\b/i;

export const structuredText = StreamLanguage.define({
  name: "st",
  startState: () => ({ comment: null, depth: 0 }),
  token,
  indent: (state, after, context) => {
    const depth = state.depth - (DEDENT.test(after) ? 1 : 0);
    return Math.max(0, depth) * context.unit;
  },
  languageData: {
    commentTokens: { line: "//", block: { open: "(*", close: "*)" } },
    indentOnInput: /^\s*(END_\w+|ELSE|ELSIF|UNTIL)$/i,
    closeBrackets: { brackets: ["(", "[", "'"] },
    autocomplete: [...DECLARATION, ...CONTROL, ...OPERATOR, ...TYPE, ...ATOM, ...STANDARD].map((label) => ({
      label,
      type: TYPE.has(label) ? "type" : STANDARD.has(label) ? "function" : "keyword",
    })),
  },
});
