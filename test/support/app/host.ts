/** What every host of the test application is started with. */

/** Signs the cookies; all nodes have it. */
export const SECRET = "a secret of the tests";

/** Options of the host's session middleware; koa-session knows only the first two. */
export interface HostOptions {
  maxAge?: number;
  rolling?: boolean;
  resave?: boolean;
  saveUninitialized?: boolean;
  unset?: "destroy" | "keep";
}
