/** A node with sign-in as a process. Arguments: engine, options of anynode() as JSON. Prints its URL once it is ready, and ends with its parent. */
import { type AnynodeOptions, anynode } from "anynode";
import { peopleNode } from "../../support/people-app.js";

async function main(): Promise<void> {
  const [, , engine = "", json = "{}"] = process.argv;
  const options: Omit<AnynodeOptions, "engine"> = JSON.parse(json);
  const sessions = anynode({ engine, keyring: ["plain"], deadlineMs: 5_000, ...options });
  await sessions.ready();
  const who = (query: URLSearchParams) => query.get("user") ?? "";
  const { url } = await peopleNode("express", sessions, {
    me: ({ session }) => ({ user: session.user ?? null }),
    async login({ session, query }) {
      await session.login(who(query));
      return { user: query.get("user") };
    },
    async slow({ session, query }) {
      await new Promise((resolve) => setTimeout(resolve, Number(query.get("ms"))));
      Reflect.set(session, "slow", query.get("ms"));
      return {};
    },
    async rotate({ session }) {
      await session.rotate();
      return {};
    },
    "end-all": ({ query }) => sessions.endAll(who(query)),
    async of({ query }) {
      return { count: (await sessions.of(who(query))).length };
    },
    async "end-everyone"() {
      await sessions.endEveryone();
      return {};
    },
  });
  console.log(url);
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 500);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
