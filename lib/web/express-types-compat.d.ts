/**
 * For TypeScript where @types/express-session is installed: adds what anynode's `req.session` has besides, e.g. promises.
 * `import "anynode/express/types-compat"`.
 */
import "express-session";

declare module "express-session" {
  interface Session {
    /** Stores what this request changed, now. */
    save(): Promise<void>;
    /** Shows what is stored now, in a new `req.session`. */
    reload(): Promise<void>;
    /** Ends this session; `req.session` is a new, empty one then. */
    regenerate(): Promise<void>;
    /** Ends this session, for good and on every node. */
    destroy(): Promise<void>;
    /** Aborted when the session ends while the request still works on it. */
    readonly signal: AbortSignal;
  }
}
