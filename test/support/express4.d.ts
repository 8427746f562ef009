/** Express 4 beside Express 5, under an alias of npm's. What the tests use of it has the types of 5. */
declare module "express4" {
  import express from "express";
  export default express;
}
