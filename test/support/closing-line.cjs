// The closing line that people and CI read: `N passed, N failed`. A skipped test counts as failed: this project has none.
class ClosingLine {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numPendingTests + results.numTodoTests + results.numRuntimeErrorTestSuites;
    process.stdout.write(`\n${results.numPassedTests} passed, ${failed} failed\n`);
  }
}
module.exports = ClosingLine;
