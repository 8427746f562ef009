/**
 * `req.session` and `req.sessionID` for TypeScript, where @types/express-session isn't installed: `import "anynode/express/types"`, or
 * `"types": ["anynode/express/types"]`. An application's own `declare module "express-session" { interface SessionData { … } }` goes on
 * working; new ones may say `declare module "anynode/express"` instead.
 */
declare module "express-session" {
  interface SessionData {}
}

declare namespace Express {
  interface Request {
    session: import("./express.js").ExpressSession &
      Partial<import("express-session").SessionData> &
      Partial<import("./express.js").SessionData>;
    sessionID: string;
  }
}
