/**
 * The directory of an environment: there, ours alone (0700) and a directory of its own, before anything is put into it.
 */
import { chmod, mkdir, readdir, stat } from "node:fs/promises";
import { AnynodeError } from "../../errors.js";
import { BELL } from "./bell.js";
import { Door } from "./door.js";

const OURS = new Set(["data.mdb", "lock.mdb", BELL]);

/** Makes or checks the directory. Rejects with OPTION_INVALID, naming it and the cure. */
export async function prepareDirectory(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const { mode } = await stat(dir);
    if ((mode & 0o077) === 0) return;
    // Tightening a directory that others use for something else would lock them out: only our own, or an empty one.
    if ((await readdir(dir)).some((name) => !OURS.has(name) && !Door.owns(name))) {
      throw unusable(dir, "holds other files and is open to other users; give the sessions a directory of their own");
    }
    await chmod(dir, 0o700);
  } catch (cause) {
    throw cause instanceof AnynodeError ? cause : unusable(dir, reasonOf(cause), cause);
  }
}

export function unusable(dir: string, why: string, cause?: unknown): AnynodeError {
  return new AnynodeError("OPTION_INVALID", `engine "lmdb:${dir}": the directory ${why}.`, { cause });
}

/** What to say of an error of the file system. */
export function reasonOf(error: unknown): string {
  const code = typeof error === "object" && error !== null && "code" in error ? String(error.code) : "unknown error";
  return `can't be written (${code}); it must be a directory on a local disk that this process' user owns`;
}
