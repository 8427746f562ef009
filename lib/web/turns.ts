/** One thing after the other: what a request asks of its session, in the order in which it was asked. */

export class Turns {
  #tail: Promise<void> | undefined;

  /** Resolves when all that was asked is over, well or not; undefined = it is. */
  get over(): Promise<void> | undefined {
    return this.#tail;
  }

  take(task: () => Promise<void>): Promise<void> {
    const turn = this.#tail === undefined ? task() : this.#tail.then(task);
    const tail = turn
      .catch(() => {})
      .then(() => {
        if (this.#tail === tail) this.#tail = undefined;
      });
    this.#tail = tail;
    return turn;
  }
}
