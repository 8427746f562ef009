/** The body of a small request, whole: for the balancer, which may have to send it twice, and for Koa, which brings no parser. */
import type { IncomingMessage } from "node:http";
import { Refused } from "./shop.js";

const LIMIT = 16_384;

export async function readBody(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > LIMIT) throw new Refused(413, `The body of a request may have ${LIMIT} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export async function readJson(req: IncomingMessage): Promise<unknown> {
  const text = (await readBody(req)).toString();
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    throw new Refused(400, "The body isn't JSON.");
  }
}
