/**
 * What is measured: the same small application each time, with another way to keep sessions. Nothing but the session middleware (and
 * for Koa the framework) differs; every subject gets the options that its own documentation recommends.
 */
import type { RequestListener } from "node:http";
import type { Place, SubjectName } from "./subjects.js";

/** Each process loads only what it measures. */
export async function application(name: SubjectName, place: Place): Promise<RequestListener> {
  if (name === "koa-session-redis" || name === "native-koa-redis")
    return (await import("./koa-application.js")).koaApplication(name, place);
  return (await import("./express-application.js")).expressApplication(name, place);
}
