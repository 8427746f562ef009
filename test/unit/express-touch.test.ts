/** G8: a touch that has nothing to store is told before it returns, so that express-session answers in one piece, not in two. */
import { AnynodeStore } from "anynode/express-session";
import { memoryEngine } from "anynode/memory";
import express from "express";
import session from "express-session";
import supertest from "supertest";

test("a touch that is coalesced calls back at once, inside the request that asked", async () => {
  const store = new AnynodeStore({ engine: memoryEngine() });
  const told: boolean[] = [];
  const touch = store.touch.bind(store);
  store.touch = (sid, data, callback) => {
    let returned = false;
    const done = touch(sid, data, (error) => {
      told.push(returned);
      callback?.(error);
    });
    returned = true;
    return done;
  };
  const app = express();
  app.use(session({ secret: "s", resave: false, saveUninitialized: false, store, cookie: { maxAge: 60_000 } }));
  app.get("/write", ({ session }, response) => {
    Object.assign(session, { look: "dark" });
    response.send("written");
  });
  app.get("/read", (_request, response) => void response.send("read"));
  const agent = supertest.agent(app);
  await agent.get("/write").expect(200);
  await agent.get("/read").expect(200);
  expect(told).toEqual([false]);
  await store.sessions.close();
});
