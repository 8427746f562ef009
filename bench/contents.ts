/** What the applications keep in their sessions. */
import { randomInt } from "node:crypto";
import { USER_NAME } from "./subjects.js";

export interface Contents {
  visitor: { id: number; name: string; roles: string[] };
  basket: { id: string; amount: number; price: number }[];
  token: string;
  look: string;
  visits: number;
  text: string;
}

/** About 0.5 KB of JSON, of the shapes that sessions have. */
export function signIn(session: Partial<Contents>): void {
  session.visitor = { id: randomInt(1e6), name: USER_NAME, roles: ["customer", "editor"] };
  session.basket = Array.from({ length: 6 }, (_, at) => ({
    id: `article-${at}-${randomInt(1e6)}`,
    amount: at + 1,
    price: 1_999,
  }));
  session.token = randomText(32);
  session.look = "dark";
  session.visits = 0;
}

/** Attributes whose JSON is `bytes` long and (all but) incompressible. */
export function fill(session: Partial<Contents>, bytes: number): void {
  session.visits = randomInt(10, 100);
  session.token = randomText(32);
  const left = bytes - JSON.stringify({ visits: session.visits, token: session.token, text: "" }).length;
  session.text = randomText(left);
}

/** Printable ASCII that JSON needn't escape: 93 characters, as dense as JSON text of one byte a character can be. */
const CHARACTERS = Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at)).filter((one) => !'"\\'.includes(one));

export function randomText(length: number): string {
  let text = "";
  while (text.length < length) text += CHARACTERS[randomInt(CHARACTERS.length)] ?? "";
  return text;
}
