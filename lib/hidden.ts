/**
 * A value that an object carries along unseen: as a WeakMap, but in a private field of the object itself. A WeakMap of what lives for one
 * request costs the garbage collector more than the rest of the request's bookkeeping. Nobody else can see, list or copy it.
 */
export interface Hidden<Value> {
  get(of: object): Value | undefined;
  set(of: object, value: Value): void;
}

/** A field of its own, and so are its objects'. */
export function hidden<Value>(): Hidden<Value> {
  class Field extends Itself {
    #value: Value;

    private constructor(of: object, value: Value) {
      super(of);
      this.#value = value;
    }

    static get(of: object): Value | undefined {
      return #value in of ? of.#value : undefined;
    }

    static set(of: object, value: Value): void {
      if (#value in of) of.#value = value;
      else new Field(of, value);
    }
  }
  return Field;
}

/** A base class whose constructor gives back what it is given: fields of a derived class are then added to that object. */
class Itself {
  constructor(of: object) {
    // biome-ignore lint/correctness/noConstructorReturn: that is the point.
    return of;
  }
}
