/**
 * The bell of a mailbox: a file that whoever has published touches, and that whoever reads has watched by the operating system, so that
 * nobody waits for their next look. Nothing rests on it: where it can't be rung or heard the next look finds what there is.
 */
import { close, type FSWatcher, open, utimes, watch } from "node:fs";
import { join } from "node:path";

export const BELL = "bell";

export class Bell {
  readonly #file: string;

  constructor(dir: string) {
    this.#file = join(dir, BELL);
  }

  ring(): void {
    const now = new Date();
    utimes(this.#file, now, now, () => {});
  }

  /** Until the function that it gives is called. */
  listen(heard: () => void): () => void {
    let watcher: FSWatcher | undefined;
    let quiet = false;
    open(this.#file, "a", 0o600, (failed, made) => {
      if (failed !== null) return;
      close(made);
      if (quiet) return;
      try {
        watcher = watch(this.#file, { persistent: false }, heard).on("error", () => watcher?.close());
      } catch {
        // The system watches as many files as it may already.
      }
      // It may have rung meanwhile.
      heard();
    });
    return () => {
      quiet = true;
      watcher?.close();
    };
  }
}
