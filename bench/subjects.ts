/** The names of what is measured; application.ts makes an application of each. */

/** Where a subject may keep its data. Each has a place of its own, so that the server's counters are its own too. */
export interface Place {
  readonly redisUrl: string;
  readonly directory: string;
}

export const subjectNames = [
  "bare",
  "memory-store",
  "connect-redis",
  "anynode-memory",
  "anynode-lmdb",
  "anynode-redis",
  "anynode-redis-checked",
  "anynode-redis-sealed",
  "anynode-ioredis",
  "native-memory",
  "native-redis",
  "koa-session-redis",
  "native-koa-redis",
] as const;
export type SubjectName = (typeof subjectNames)[number];

export const redisSubjects: readonly SubjectName[] = [
  "connect-redis",
  "anynode-redis",
  "anynode-redis-checked",
  "anynode-redis-sealed",
  "anynode-ioredis",
  "native-redis",
  "koa-session-redis",
  "native-koa-redis",
];

/** Nothing on Koa is compared with what runs on Express. */
export function isOnKoa(name: SubjectName): boolean {
  return name === "koa-session-redis" || name === "native-koa-redis";
}

export function isSubjectName(text: string | undefined): text is SubjectName {
  return subjectNames.some((name) => name === text);
}

/** What `/read` answers: it proves that the session was found. */
export const USER_NAME = "Ada Lovelace";
