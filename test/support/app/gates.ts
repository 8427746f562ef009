/** Gates: a request of the test application waits at one until the test opens it. So a race is arranged, never slept for. */

interface Gate {
  readonly arrived: Promise<void>;
  readonly opened: Promise<void>;
  arrive(): void;
  open(): void;
}

export class Gates {
  readonly #gates = new Map<string, Gate>();

  /** Waits at the gate of that name; without a name there is none. */
  async pass(name: string | null): Promise<void> {
    if (name === null) return;
    const gate = this.#gate(name);
    gate.arrive();
    await gate.opened;
    this.#gates.delete(name);
  }

  /** Resolves when a request waits at the gate. */
  arrived(name: string): Promise<void> {
    return this.#gate(name).arrived;
  }

  open(name: string): void {
    this.#gate(name).open();
  }

  #gate(name: string): Gate {
    const known = this.#gates.get(name);
    if (known !== undefined) return known;
    const [arrived, arrive] = signal();
    const [opened, open] = signal();
    const fresh = { arrived, arrive, opened, open };
    this.#gates.set(name, fresh);
    return fresh;
  }
}

function signal(): [Promise<void>, () => void] {
  let give: () => void = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return [given, give];
}
