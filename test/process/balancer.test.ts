/** The balancer of the example application: whose turn it is, and what becomes of a request whose node is dead or dies. */
import { once } from "node:events";
import { createServer, type RequestListener, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Balancer } from "../../example-app/balancer.js";

let balancer: Balancer;
let address: string;
const servers: Server[] = [];

beforeEach(async () => {
  balancer = new Balancer();
  address = await balancer.listen(0);
});

afterEach(async () => {
  await balancer.close();
  for (const server of servers.splice(0)) await stop(server);
});

test("every request goes to the next node, whoever asks", async () => {
  for (const name of ["A", "B", "C"]) balancer.add(name, await serve((_req, res) => res.end(name)));
  const asked = [];
  for (let turn = 0; turn < 6; turn++) asked.push(await (await fetch(address)).text());
  expect(asked).toEqual(["A", "B", "C", "A", "B", "C"]);
});

test("a node that refuses the connection: the next one gets the request, body and all", async () => {
  balancer.add("A", await refusing());
  balancer.add("B", await serve((req, res) => req.pipe(res)));
  for (let turn = 0; turn < 4; turn++) {
    const response = await fetch(address, { method: "POST", body: `message ${turn}` });
    expect(await response.text()).toBe(`message ${turn}`);
  }
});

test("a node with a new address takes part again at once", async () => {
  balancer.add("A", await refusing());
  expect((await fetch(address)).status).toBe(503);
  balancer.add("A", await serve((_req, res) => res.end("back")));
  expect(await (await fetch(address)).text()).toBe("back");
});

test("a node that dies with a request in hand: a GET goes on to the next, a POST is answered 502 and never sent twice", async () => {
  let posts = 0;
  const count: RequestListener = (req, res) => {
    if (req.method === "POST") posts++;
    res.end("B");
  };
  balancer.add("A", await serve((req) => req.socket.destroy()));
  balancer.add("B", await serve(count));
  expect(await (await fetch(address)).text()).toBe("B");
  balancer.add("A", await serve((req) => req.socket.destroy()));
  const lost = await fetch(address, { method: "POST", body: "once" });
  expect([lost.status, lost.headers.get("x-node"), posts]).toEqual([502, "A", 0]);
});

test("a node that dies in the middle of its answer: the answer breaks off, it doesn't hang", async () => {
  balancer.add(
    "A",
    await serve((req, res) => {
      res.writeHead(200, { "content-length": "10" });
      res.write("half", () => req.socket.destroy());
    }),
  );
  const response = await fetch(address);
  await expect(response.text()).rejects.toThrow();
});

test("a body over the limit is answered 413, and no node sees it", async () => {
  const seen = jest.fn();
  balancer.add("A", await serve(seen));
  expect((await fetch(address, { method: "POST", body: "x".repeat(20_000) })).status).toBe(413);
  expect(seen).not.toHaveBeenCalled();
});

test("upgrades pass, to the next node if one refuses; closing the balancer closes them", async () => {
  const server = await listening(createServer());
  server.on("upgrade", (_req, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
    socket.pipe(socket);
  });
  balancer.add("A", await refusing());
  balancer.add("B", addressOf(server));
  const upgrading = request(address, { headers: { connection: "upgrade", upgrade: "websocket" } }).end();
  const [, socket] = await once(upgrading, "upgrade");
  socket.write("echo");
  expect(String((await once(socket, "data"))[0])).toBe("echo");
  const closed = once(socket, "close");
  await balancer.close();
  await closed;
});

test("an upgrade that no node takes: the connection is closed", async () => {
  balancer.add("A", await refusing());
  const upgrading = request(address, { headers: { connection: "upgrade", upgrade: "websocket" } }).end();
  await expect(once(upgrading, "upgrade")).rejects.toThrow("socket hang up");
});

async function serve(listener: RequestListener): Promise<string> {
  return addressOf(await listening(createServer(listener)));
}

async function listening(server: Server): Promise<Server> {
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** An address where nobody listens (any more). */
async function refusing(): Promise<string> {
  const server = await listening(createServer());
  const free = addressOf(server);
  await stop(server);
  return free;
}

async function stop(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  server.closeAllConnections();
  await once(server, "close");
}

function addressOf(server: Server): string {
  const { port }: Partial<AddressInfo> = Object(server.address());
  return `http://127.0.0.1:${port}`;
}
