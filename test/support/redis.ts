/**
 * A redis-server of the test's own: in a temporary directory, on a unix socket, or on a free TCP port when asked.
 * It can be frozen, killed and restarted at the same place, and dies with the test process, however that one dies.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Redis } from "ioredis";

export interface RedisServer {
  /** What `redisEngine({ url })` takes: `redis+unix:///…` or, with `tcp`, `redis://127.0.0.1:port`; with `tls`, `rediss://localhost:port`. */
  readonly url: string;
  readonly socket: string;
  readonly port?: number;
  readonly pid: number;
  /** Ends the server and removes its directory. */
  stop(): Promise<void>;
  /** SIGKILL; the directory stays for `restart()`. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open, nothing answers. */
  freeze(): void;
  thaw(): void;
  /** Kills the server if it runs, and starts it at the same place; empty, unless `args` ask for persistence. */
  restart(): Promise<void>;
  /** One command, over a connection of its own. */
  command(...args: (string | number | Buffer)[]): Promise<unknown>;
}

export async function startRedis(
  options: { args?: readonly string[]; tcp?: boolean; tls?: readonly string[] } = {},
): Promise<RedisServer> {
  const binary = redisBinary();
  const directory = await mkdtemp(join(tmpdir(), "anynode-redis-"));
  const socket = join(directory, "redis.sock");
  const port = options.tcp || options.tls ? await freePort() : undefined;
  // With TLS no other port is open: whoever gets through came encrypted.
  const ports = options.tls
    ? ["--port", "0", "--tls-port", String(port), "--tls-auth-clients", "no", ...options.tls]
    : ["--port", String(port ?? 0)];
  const args = [
    ...ports,
    ...["--bind", "127.0.0.1", "--unixsocket", socket, "--unixsocketperm", "700"],
    ...["--dir", directory, "--save", "", "--appendonly", "no", "--daemonize", "no", ...(options.args ?? [])],
  ];

  let server = await start(binary, args, socket);
  const halt = async () => {
    const { child, guard } = server;
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    guard.kill("SIGKILL");
  };
  return {
    url: options.tls ? `rediss://localhost:${port}` : port === undefined ? `redis+unix://${socket}` : `redis://127.0.0.1:${port}`,
    socket,
    ...(port === undefined ? {} : { port }),
    get pid() {
      return pidOf(server.child);
    },
    async stop() {
      await halt();
      await rm(directory, { recursive: true, force: true });
    },
    kill: halt,
    freeze: () => void server.child.kill("SIGSTOP"),
    thaw: () => void server.child.kill("SIGCONT"),
    async restart() {
      await halt();
      await rm(socket, { force: true });
      server = await start(binary, args, socket);
    },
    async command(name, ...rest) {
      const client = new Redis({ path: socket, lazyConnect: true, enableReadyCheck: false, retryStrategy: () => null });
      client.on("error", () => {});
      try {
        await client.connect();
        return await client.call(String(name), rest);
      } finally {
        client.disconnect();
      }
    },
  };
}

/** Spawns a server, and a guard that ends it when this process is gone (the guard's stdin closes then). */
async function start(
  binary: string,
  args: readonly string[],
  socket: string,
): Promise<{ child: ChildProcess; guard: ChildProcess }> {
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (data) => {
    output = (output + data).slice(-4_000);
  });
  child.stderr.on("data", (data) => {
    output += data;
  });
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}:\n${output}`)));
  });
  failed.catch(() => {});
  await Promise.race([answers(socket), failed]);
  const guard = spawn("sh", ["-c", `read _; kill -9 ${pidOf(child)}`], { stdio: ["pipe", "ignore", "ignore"] });
  for (const one of [child, guard]) one.unref();
  return { child, guard };
}

/** Resolves when a PING is answered, be it by an error such as NOAUTH. */
async function answers(socket: string): Promise<void> {
  const givingUpAt = performance.now() + 10_000;
  while (performance.now() < givingUpAt) {
    const answered = await new Promise<boolean>((resolve) => {
      const connection = connect(socket, () => connection.write("PING\r\n"));
      connection.once("data", () => resolve(true));
      connection.once("error", () => resolve(false));
      connection.once("close", () => resolve(false));
    });
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`redis-server didn't answer on ${socket} within 10 s`);
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error("redis-server didn't start");
  return child.pid;
}

/** The redis-server of this machine; installs it where that is ours to do (root on Debian). */
export function redisBinary(): string {
  const found = onPath("redis-server");
  if (found !== undefined) return found;
  if (process.getuid?.() === 0 && onPath("apt-get") !== undefined) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
    for (const verb of [["update"], ["install", "-y", "--no-install-recommends", "redis-server"]])
      spawnSync("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120", ...verb], { env, stdio: "inherit" });
    const installed = onPath("redis-server");
    if (installed !== undefined) return installed;
  }
  throw new Error(
    "These tests need redis-server 6.2 or newer on the PATH. Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis.",
  );
}

function onPath(name: string): string | undefined {
  const { PATH = "" } = process.env;
  const folders = [...PATH.split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  if (address === null || typeof address === "string") throw new Error("no TCP port to be had");
  probe.close();
  await once(probe, "close");
  return address.port;
}
