/**
 * Calls every method of AnynodeStore in every style, on an engine that answers and on one that doesn't. Prints "ok", or what went wrong:
 * a callback that ran twice, a throw that didn't surface as uncaughtException, a rejection that nobody was asked to hear.
 */
import { anynode } from "anynode";
import { AnynodeStore } from "anynode/express-session";
import { memoryEngine } from "anynode/memory";

const METHODS: readonly (readonly [name: string, ...args: unknown[]])[] = [
  ["set", "a", { cookie: {} }],
  ["get", "a"],
  ["touch", "a", { cookie: {} }],
  ["all"],
  ["ids"],
  ["length"],
  ["destroy", "a"],
  ["clear"],
];

const surfaced: unknown[] = [];
process.on("uncaughtException", (error: Error) => surfaced.push(error.message));
process.on("unhandledRejection", (error) => {
  console.log("unhandledRejection", error);
  process.exit(1);
});

async function main(): Promise<void> {
  const answering = anynode({ engine: "memory:" });
  const dead = memoryEngine();
  await dead.close();
  const expected: string[] = [];
  for (const [which, sessions] of [["answering", answering] as const, ["dead", anynode({ engine: dead })] as const]) {
    const store = new AnynodeStore(sessions);
    for (const [name, ...args] of METHODS) {
      const call = (...more: unknown[]) => Reflect.apply(Reflect.get(store, name), store, [...args, ...more]);
      let calls = 0;
      const failed = await new Promise<boolean>((resolve) => {
        call((error: unknown) => {
          calls += 1;
          setTimeout(() => resolve(Boolean(error)), 5); // long enough for a second call
          throw new Error(`${which} ${name}`);
        });
      });
      expected.push(`${which} ${name}`);
      check(`${which} ${name} called back ${calls} times`, calls === 1);
      check(`${which} ${name} failed: ${failed}`, failed === (which === "dead"));
      call(); // neither callback nor await
      call(undefined);
      call(null); // express-session itself passes on what the application gave it
      await Promise.resolve(call()).then(
        () => check(`${which} ${name} should reject`, which === "answering"),
        () => check(`${which} ${name} should resolve`, which === "dead"),
      );
    }
  }
  check(`surfaced: ${surfaced}`, JSON.stringify(surfaced) === JSON.stringify(expected));
  console.log("ok");
  process.exit(0);
}

function check(what: string, holds: boolean): void {
  if (holds) return;
  console.log(what);
  process.exit(1);
}

main().catch((error) => {
  console.log(error);
  process.exit(1);
});
