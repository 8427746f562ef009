// One Jest project. `npm test` runs each bar at about a tenth; ANYNODE_FULL=1 (npm run test:full) runs the whole figure.
module.exports = {
  testEnvironment: "node",
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "commonjs" }, sourceMaps: "inline" },
    ],
  },
  moduleNameMapper: {
    "^anynode$": "<rootDir>/lib/index.ts",
    "^anynode/(express|koa|express-session|koa-session)$": "<rootDir>/lib/web/$1.ts",
    "^anynode/(memory|lmdb)$": "<rootDir>/lib/engines/$1.ts",
    "^anynode/redis$": "<rootDir>/lib/engines/redis/engine.ts",
    "^anynode/testing$": "<rootDir>/lib/testing.ts",
    "^(\\.{1,2}/.*)\\.js$": "$1",
  },
  modulePathIgnorePatterns: ["<rootDir>/dist/"],
  testTimeout: 30_000,
  reporters: ["default", "<rootDir>/test/support/closing-line.cjs"],
};
