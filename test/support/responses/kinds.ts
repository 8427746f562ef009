/** Every kind of response that an application gives: what a native front end must hold back until its session is stored. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setImmediate as turn } from "node:timers/promises";

export interface Kind {
  readonly name: string;
  readonly method?: "HEAD";
  readonly requestHeaders?: Record<string, string>;
  readonly status: number;
  /** The body that a client receives. */
  readonly body: string;
  readonly headers?: Record<string, string>;
  answer(req: IncomingMessage, res: ServerResponse): unknown;
}

const BIG = "0123456789abcdef".repeat(4096);

/** By what node:http itself has; they work on every server. */
export const KINDS: readonly Kind[] = [
  {
    name: "end",
    status: 200,
    body: "hello",
    answer(_, res) {
      res.setHeader("ETag", '"of the handler"');
      res.setHeader("Content-Length", 5);
      res.end("hello");
    },
  },
  {
    name: "end without a body",
    status: 204,
    body: "",
    answer: (_, res) => {
      res.statusCode = 204;
      res.end();
    },
  },
  {
    name: "end(callback)",
    status: 200,
    body: "told: no",
    answer(_, res) {
      let told = "no";
      res.write("told: ");
      res.end(told, () => {
        told = "yes";
      });
    },
  },
  {
    name: "writeHead with headers",
    status: 201,
    body: "made",
    headers: { "x-kind": "head" },
    answer: (_, res) => res.writeHead(201, { "X-Kind": "head", "Content-Type": "text/plain" }).end("made"),
  },
  {
    name: "writeHead with cookies of its own",
    status: 200,
    body: "cookies",
    answer: (_, res) => res.writeHead(200, { "Set-Cookie": ["a=1", "b=2"] }).end("cookies"),
  },
  {
    name: "flushHeaders",
    status: 200,
    body: "late",
    async answer(_, res) {
      res.flushHeaders();
      await turn();
      res.end("late");
    },
  },
  {
    name: "writes over several turns",
    status: 200,
    body: "one two three",
    async answer(_, res) {
      res.write("one ");
      await turn();
      res.write(Buffer.from("two "));
      await turn();
      res.end("three");
    },
  },
  {
    name: "pipe",
    status: 200,
    body: BIG,
    answer: (_, res) => Readable.from([BIG.slice(0, 40_000), BIG.slice(40_000)]).pipe(res),
  },
  {
    name: "pipeline",
    status: 200,
    body: BIG,
    answer: (_, res) => pipeline(Readable.from([BIG.slice(0, 40_000), BIG.slice(40_000)]), res).catch(() => {}),
  },
  {
    name: "HEAD",
    method: "HEAD",
    status: 200,
    body: "",
    answer(_, res) {
      res.setHeader("Content-Length", 100);
      res.end();
    },
  },
  {
    name: "304",
    status: 304,
    body: "",
    answer: (_, res) => {
      res.statusCode = 304;
      res.setHeader("ETag", '"x"');
      res.end();
    },
  },
];

/** By what Express adds. */
export const EXPRESS_KINDS: readonly Kind[] = [
  {
    name: "redirect",
    status: 302,
    body: "Found. Redirecting to /elsewhere",
    answer: (_, res) => call(res, "redirect", "/elsewhere"),
  },
  { name: "json", status: 200, body: '{"n":1}', answer: (_, res) => call(res, "json", { n: 1 }) },
  { name: "send", status: 200, body: "sent", answer: (_, res) => call(res, "send", "sent") },
  {
    name: "send, fresh",
    requestHeaders: { "if-none-match": 'W/"4-4ARd6EWExw8uuLgzQ5ooRKCjoWc"' },
    status: 304,
    body: "",
    answer(req, res) {
      req.headers["if-none-match"] = "*";
      call(res, "send", "sent");
    },
  },
  { name: "sendFile", status: 200, body: "", answer: (_, res) => call(res, "sendFile", __filename) },
];

function call(res: ServerResponse, name: string, ...args: unknown[]): void {
  const method: unknown = Reflect.get(res, name);
  if (typeof method === "function") Reflect.apply(method, res, args);
}
