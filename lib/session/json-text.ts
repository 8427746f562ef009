/**
 * Whether a text is JSON within bounds, told without parsing it: what an engine returned, or an application wants to store, may nest so
 * deep that whoever walks it runs out of stack, hold so many values that parsing it takes long, or be no JSON at all.
 */

/** Deeper than any sound session, and far from the depth (about 5,000) at which JSON.stringify runs out of stack. */
export const MAX_DEPTH = 200;

/** How many values (objects, arrays and what is in them) a text holds. */
export type JsonJudgement = number | "malformed" | "too deep";

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const QUOTE = 34;
const COMMA = 44;
const COLON = 58;
const OPEN_LIST = 91;
const BACKSLASH = 92;
const CLOSE_LIST = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

/** Exactly one value, as JSON.parse would take it. */
export function judgeJson(text: string): JsonJudgement {
  /** What closes the innermost list or object (0: none is open), and behind it those around it. */
  const closers: number[] = [];
  let closer = 0;
  let values = 0;
  let at = 0;
  /** A list or object was just opened: it may be closed at once. */
  let fresh = false;
  for (;;) {
    at = afterSpace(text, at);
    const first = text.charCodeAt(at);
    let complete = true;
    if (fresh && first === closer) {
      closer = closers.pop() ?? 0;
      at++;
    } else {
      if (closer === CLOSE_OBJECT) {
        if (first !== QUOTE) return "malformed";
        at = afterSpace(text, afterString(text, at));
        if (text.charCodeAt(at) !== COLON) return "malformed";
        at = afterSpace(text, at + 1);
      }
      values++;
      const code = text.charCodeAt(at);
      if (code === OPEN_LIST || code === OPEN_OBJECT) {
        if (closers.length === MAX_DEPTH) return "too deep";
        closers.push(closer);
        closer = code === OPEN_LIST ? CLOSE_LIST : CLOSE_OBJECT;
        at++;
        complete = false;
      } else {
        at = code === QUOTE ? afterString(text, at) : afterWord(text, at);
        if (at === 0) return "malformed";
      }
    }
    fresh = !complete;
    if (!complete) continue;
    // What ends with this value, up to the comma in front of the next one.
    for (;;) {
      at = afterSpace(text, at);
      const code = text.charCodeAt(at);
      if (closers.length === 0) return at === text.length ? values : "malformed";
      at++;
      if (code === COMMA) break;
      if (code !== closer) return "malformed";
      closer = closers.pop() ?? 0;
    }
  }
}

function afterSpace(text: string, from: number): number {
  let at = from;
  // What JSON.stringify writes has none.
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

function isSpace(code: number): boolean {
  return code <= 32 && (code === 32 || code === 10 || code === 13 || code === 9);
}

/** Behind the string whose quote is at `from`; 0 if it is none. */
function afterString(text: string, from: number): number {
  for (let at = from + 1; ; at++) {
    let code = text.charCodeAt(at);
    while (code > BACKSLASH) code = text.charCodeAt(++at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) {
      at++;
      const escaped = text[at] ?? "";
      if (escaped === "u") {
        if (!/^[0-9A-Fa-f]{4}$/.test(text.slice(at + 1, at + 5))) return 0;
        at += 4;
      } else if (escaped === "" || !'"\\/bfnrt'.includes(escaped)) return 0;
    } else if (!(code >= 32)) return 0;
  }
}

/** Behind the number, true, false or null at `from`; 0 if there is none. */
function afterWord(text: string, from: number): number {
  const code = text.charCodeAt(from);
  if (code > 57) {
    for (const word of ["null", "true", "false"]) if (text.startsWith(word, from)) return from + word.length;
    return 0;
  }
  NUMBER.lastIndex = from;
  return NUMBER.test(text) ? NUMBER.lastIndex : 0;
}
