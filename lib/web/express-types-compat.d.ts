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
    /** Who is signed in; undefined = nobody. Only `login` sets it. */
    readonly user: string | undefined;
    /** When the person showed last who they are. */
    readonly authenticatedAt: Date | undefined;
    /** When the session ends unless another request comes, and when in any case. */
    readonly expiresAt: Date | undefined;
    readonly absoluteExpiresAt: Date | undefined;
    /** What isn't as it was at sign-in, of what the option `record` has recorded. */
    readonly clientChanges: readonly ("address" | "agent")[];
    /** Signs a person in, under a new id; the old one is dead everywhere when this resolves. */
    login(user: string, options?: import("./express.js").LoginOptions): Promise<void>;
    /** Signs out: ends this session, for good and on every node. */
    logout(): Promise<void>;
    /** Whether the person showed who they are no longer ago than `ms`. */
    reauthenticatedWithin(ms: number): boolean;
    /** Gives this session a new id, and the old one a short grace. */
    rotate(options?: import("./express.js").RotateOptions): Promise<void>;
  }
}
