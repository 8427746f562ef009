// Counts for the closing line that people and CI read, `N passed, N failed`: scripts/test.mjs prints it, when Jest has said all it has to say.
// A skipped test counts as failed: this project has none.
const { writeFileSync } = require("node:fs");

class ClosingLine {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numPendingTests + results.numTodoTests + results.numRuntimeErrorTestSuites;
    const tally = process.env.ANYNODE_TALLY;
    if (tally !== undefined) writeFileSync(tally, JSON.stringify({ passed: results.numPassedTests, failed }));
  }
}
module.exports = ClosingLine;
