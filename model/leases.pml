/*
 * Reads without a round trip, and an end that is final: one session, one engine, a few nodes. README.md says what is left out.
 *
 *   P1  A read that started after a write was completed serves nothing older.
 *   P2  A read that started after an end was completed serves no session; nothing revives it.
 *
 * Both are one assertion: an ended session counts as the newest version there is (GONE), and no read may serve less than what
 * was completed when it started. Time is ticks; every timer counts down, so all clocks tick at the same rate, each from its own start.
 *
 * A configuration is a set of -D bounds; any one of the rules below can be switched off, and SPIN must then find a violation.
 */
#ifndef NODES
#define NODES 2
#endif
#ifndef CACHES /* bit masks: the nodes that keep copies, commit, end, leave */
#define CACHES 3
#endif
#ifndef COMMITS
#define COMMITS 3
#endif
#ifndef ENDS
#define ENDS 0
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifndef VERSIONS /* the last version that a commit may write; the first is 1 */
#define VERSIONS 3
#endif
#ifndef LEASE /* the copy lease in ticks */
#define LEASE 2
#endif
#ifndef STEP /* how far the engine's clock may jump ahead, once */
#define STEP 0
#endif
#ifndef UNNOTICED /* up to here nobody sees that clocks disagree (the design: 250 ms) */
#define UNNOTICED 0
#endif
#ifndef EVICTION /* the engine may lose the record, copies and all */
#define EVICTION 0
#endif
#ifndef LINKS /* a subscription may break and be remade */
#define LINKS 0
#endif
#ifndef LATE /* nodes whose command may still run after it was given up */
#define LATE 0
#endif
#ifndef ROOM /* messages under way on one subscription */
#define ROOM 3
#endif

/* The rules. `without` is the one that is switched off: -DWITHOUT=TICKET, or in a compiled verifier WITHOUT=<number> in the environment. */
#define TICKET 1 /* a fill is cached only under a clean ticket */
#define RUN_FOR_TICKET 2 /* a ticket is opened inside a run only */
#define BIT_WITH_READ 3 /* a fill sets its bit in the step that reads */
#define JOINING 4 /* a request joins a fill only while its ticket is clean */
#define ECHO_RENEWS 5 /* the lease is renewed by the echo, not by the command's reply */
#define SENT_TIME 6 /* the lease counts from when the beat was sent */
#define COUNT 7 /* an echo counts only with the right number of drops */
#define FRESH_BEAT 8 /* a run starts with a beat sent after the last one ended */
#define RUN_ENDS_FIRST 9 /* a node that leaves ends its run first */
#define WAIT 10 /* a writer waits: for the ack or the lease */
#define WAIT_FOR_SILENT 11 /* also for a holder that looks disconnected */
#define NAMED_ACK 12 /* an ack counts for the drop that it names only */
#define TOLD 13 /* the engine remembers whom a writer told, for one lease */
#define TOLD_FOR_WRITER 14 /* the writer's own bit too */
#define DROP_TO_WRITER 15 /* the writer's own bit is told too: the command may run after its node gave it up */
#define BIT_FOR_WRITER 16 /* who keeps what it wrote is a holder */
#define TICKET_FOR_KEPT 17 /* and needs a ticket */
#define OWN_COPY 18 /* the writer drops its own copy when it hears of the outcome, or gives up */
#define OWN_TICKET 19 /* and voids its own tickets */
#define MARK 20 /* an ended mark answers late writes */
#define WAIT_AT_MARK 21 /* an end that finds the mark waits a full lease */
#define DROP_WHEN_MISSING 22 /* an end that finds no record tells everybody */
#define DOUBT 23 /* whoever sees that the engine's clock jumped waits full leases, for one lease */
#define MARGIN 24 /* the engine counts leases longer, by what clocks may disagree unnoticed */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
#define RULE(rule) (without != rule)

/* What is left of the lease when an echo comes back: counted from when its beat was sent. */
#define FROM_ECHO(n) (RULE(SENT_TIME) -> LEASE - node[n].age : LEASE)

#define GONE 15
#define BIT(n) (1 << (n))
#define HAS(mask, n) (((mask) >> (n)) & 1)

/* What the engine counts a copy lease with: longer than what a node trusts, by what clocks may disagree unnoticed. */
#define ENGINE_LEASE (RULE(MARGIN) -> LEASE + UNNOTICED : LEASE)

mtype = { NONE, SENT, READ, PUBLISHED, ANSWERED, WAITING };              /* how far a beat, a fill or a write is */
mtype = { COMMIT, END };
mtype = { COMMITTED, ENDED, MARKED, MISSING, REFUSED };                  /* outcomes of a write */
mtype = { IN, LEAVING, OUT };
mtype = { ECHO, DROP };

typedef Node {
  /* cache/lease.ts. A run lives exactly while trust > 0. */
  byte trust;           /* ticks until trustedUntil */
  byte expected;        /* drop count at the run's first echo, plus drops seen since */
  mtype beat = NONE;    /* NONE, SENT, PUBLISHED (its echo is under way) */
  byte age;             /* ticks since that beat was sent */
  bool stale;           /* it was sent before the last run ended: it starts no other */
  mtype member = IN;
  /* cache/near-cache.ts */
  byte copy;            /* version; 0: none */
  mtype fill = NONE;    /* NONE, SENT, READ (mutant only), ANSWERED */
  byte filled;
  bool clean;           /* the fill ticket: opened in this run, no drop since */
  byte floor;           /* what was completed when the youngest request waiting for this fill started */
  /* the write path: sessions.ts, commits.ts */
  mtype write = NONE;   /* NONE, SENT, ANSWERED, WAITING */
  mtype verb = COMMIT;
  byte basis;           /* the version that the commit expects */
  mtype outcome = COMMITTED;
  byte written;         /* the version that the script wrote */
  bool keep;            /* the commit's own ticket: may the new value be kept? */
  bool holder;          /* somebody is waited for: in these configurations there is one other holder at the most */
  byte left;            /* for how long at the most */
  bool jumped;          /* by the time in the reply, the engine's clock disagrees with the last beat's */
  byte acked;           /* an ack on its way to this writer: the version in it */
  /* the engine's clock as this node knows it */
  byte known;           /* steps noticed by the last beat */
  byte doubt;           /* ticks until leases granted before a noticed step are over */
  /* a command that its node has given up, still in some buffer */
  bool late;
  mtype lateVerb = COMMIT;
  byte lateBasis;
};
Node node[NODES];

/* The engine: the value, the registry's rows, the channel. */
byte version = 1;
bool ended, missing, evicted;
byte copies, told, toldLeft;
byte rowLeft[NODES];    /* of each node's copy lease, counted from its last beat */
bool row[NODES];
byte drops[NODES];      /* ever published to that number */
bool subscribed[NODES];
byte stepped;           /* how far the engine's clock has jumped */
chan channel[NODES] = [ROOM] of { mtype, byte, byte };   /* ECHO, count, engine's step | DROP, version, writer */

byte completed = 1;     /* the newest version whose writer has stopped waiting: what the promise is about */

/* ---- engines/redis/lua/…: each script is one atomic step ---- */

/* Drop counts matter by their differences only, and between echoes of a run: they restart where nothing compares them. */
inline noBeat(m) {
  node[m].beat = NONE; node[m].age = 0; node[m].stale = false;
  drops[m] = (node[m].trust > 0 -> drops[m] - node[m].expected : 0);
  node[m].expected = 0
}

/* Single messages get lost; what is published to a link that is cut always does. */
inline publish(n, kind, a, b) {
  if
  :: subscribed[n] && nfull(channel[n]) -> channel[n]!kind,a,b
  :: kind == DROP
  :: kind == ECHO -> noBeat(n)
  fi
}

/* Tells those who may have a copy, writes down who was told, and says whom the writer waits for. */
inline announce(w, everybody) {
  targets = copies | (toldLeft > 0 -> told : 0) | everybody;
  copies = 0;
  told = 0;
  n = 0;
  do
  :: n < NODES && HAS(targets, n) ->
    if
    :: n != w || RULE(DROP_TO_WRITER) ->
      drops[n] = (node[n].trust > 0 || node[n].beat == PUBLISHED -> drops[n] + 1 : 0);
      publish(n, DROP, version, w)
    :: else
    fi;
    if
    :: n != w && rowLeft[n] > 0 && (subscribed[n] || RULE(WAIT_FOR_SILENT)) -> holder = true; left = rowLeft[n]
    :: else
    fi;
    if
    :: RULE(TOLD) && (n != w || RULE(TOLD_FOR_WRITER)) -> told = told | BIT(n)
    :: else
    fi;
    n++
  :: n < NODES && !HAS(targets, n) -> n++
  :: n == NODES -> break
  od;
  toldLeft = (told > 0 -> ENGINE_LEASE : 0);
  n = 0;
  targets = 0
}

inline commitScript(w, expects, keeps) {
  if
  :: ended && RULE(MARK) -> outcome = REFUSED /* gone */
  :: ended && !RULE(MARK) -> ended = false; version = expects + 1; outcome = COMMITTED
  :: !ended && !missing && version == expects ->
    version++;
    announce(w, 0);
    if
    :: keeps && RULE(BIT_FOR_WRITER) -> copies = copies | BIT(w)
    :: else
    fi;
    outcome = COMMITTED
  :: !ended && (missing || version != expects) -> outcome = REFUSED /* gone, or conflict */
  fi
}

inline endScript(w) {
  if
  :: ended -> outcome = MARKED
  :: !ended && missing ->
    ended = true; missing = false; version = GONE;
    if
    :: RULE(DROP_WHEN_MISSING) -> announce(w, CACHES) /* who had copies went with the record */
    :: else
    fi;
    outcome = MISSING
  :: !ended && !missing ->
    ended = true; version = GONE;
    announce(w, 0);
    outcome = ENDED
  fi
}

inline forget() { outcome = REFUSED; holder = false; left = 0 }

#define newest() (ended || missing -> GONE : version)
inline read() { node[me].filled = newest() }
inline setBit() {
  if
  :: node[me].clean && !ended && !missing -> copies = copies | BIT(me)
  :: else
  fi
}

/* What the engine does for one node's commands, in any order. */
proctype Scripts(byte me) {
  byte n, targets, left;
  bool holder;
  mtype outcome = REFUSED;
  do
  /* beat: renew the row; publish, to the node's own channel, its drop count and the engine's time */
  :: atomic { node[me].beat == SENT && row[me] ->
      rowLeft[me] = ENGINE_LEASE;
      if
      :: !RULE(ECHO_RENEWS) && node[me].trust > 0 -> node[me].trust = LEASE - node[me].age /* by the command's reply */
      :: else
      fi;
      node[me].beat = PUBLISHED;
      publish(me, ECHO, drops[me], stepped) }
  :: atomic { node[me].beat == SENT && !row[me] -> noBeat(me) } /* fenced */

  /* fill: set my bit and read, at once */
  :: atomic { node[me].fill == SENT && RULE(BIT_WITH_READ) -> read(); setBit(); node[me].fill = ANSWERED }
  :: atomic { node[me].fill == SENT && !RULE(BIT_WITH_READ) -> read(); node[me].fill = READ }
  :: atomic { node[me].fill == READ -> setBit(); node[me].fill = ANSWERED }

  /* commit and end: the reply carries the engine's time */
  :: atomic { node[me].write == SENT ->
      if
      :: node[me].verb == COMMIT -> commitScript(me, node[me].basis, node[me].keep)
      :: node[me].verb == END -> endScript(me)
      fi;
      node[me].basis = 0;
      node[me].outcome = outcome;
      node[me].written = (outcome == REFUSED -> 0 : version);
      node[me].holder = holder;
      node[me].left = left;
      node[me].jumped = (stepped > node[me].known + UNNOTICED);
      node[me].write = ANSWERED;
      forget() }
  /* the same for a command that its node has given up */
  :: atomic { node[me].late ->
      if
      :: node[me].lateVerb == COMMIT -> commitScript(me, node[me].lateBasis, false)
      :: node[me].lateVerb == END -> endScript(me)
      fi;
      node[me].late = false; node[me].lateVerb = COMMIT; node[me].lateBasis = 0;
      forget() }

  :: atomic { node[me].member == LEAVING -> row[me] = false; rowLeft[me] = 0; node[me].member = OUT }
  od
}

/* ---- cache/lease.ts, cache/near-cache.ts: a node that keeps copies ---- */

/* A run ends: flush, void all tickets. What was sent before starts no other run. */
inline endRun(m) {
  node[m].trust = 0;
  node[m].expected = 0;
  drops[m] = (node[m].beat == PUBLISHED -> drops[m] : 0);
  node[m].copy = 0;
  node[m].clean = false;
  node[m].keep = false;
  node[m].stale = (node[m].beat != NONE)
}

inline heardEcho(count, step) {
  if
  :: step > node[me].known + UNNOTICED -> node[me].doubt = LEASE; endRun(me)
  :: else ->
    if
    :: node[me].trust > 0 && count != node[me].expected && RULE(COUNT) -> endRun(me)
    :: node[me].trust > 0 && (count == node[me].expected || !RULE(COUNT)) ->
      node[me].trust = (RULE(ECHO_RENEWS) -> FROM_ECHO(me) : node[me].trust)
    :: node[me].trust == 0 && HAS(CACHES, me) && (!node[me].stale || !RULE(FRESH_BEAT)) && FROM_ECHO(me) > 0 ->
      node[me].trust = FROM_ECHO(me);
      node[me].expected = count
    :: else
    fi
  fi;
  node[me].known = step;
  noBeat(me)
}

inline heardDrop(dropped, writer) {
  if
  :: node[me].trust > 0 ->
    node[me].expected++;
    if
    :: node[me].copy < dropped -> node[me].copy = 0
    :: else
    fi;
    node[me].clean = (RULE(TICKET) -> false : node[me].clean);
    node[me].keep = (RULE(TICKET_FOR_KEPT) -> false : node[me].keep)
  :: else
  fi;
  if
  :: writer != me && node[writer].write != NONE -> node[writer].acked = dropped
  :: else /* nobody waits for the ack */
  fi
}

inline noFill() { node[me].fill = NONE; node[me].filled = 0; node[me].floor = 0; node[me].clean = false }

proctype Cache(byte me) {
  byte a, b;
  do
  :: atomic { node[me].beat == NONE && node[me].member == IN -> node[me].beat = SENT }
  :: atomic { channel[me]?ECHO,a,b -> heardEcho(a, b); a = 0; b = 0 }
  :: atomic { channel[me]?DROP,a,b -> heardDrop(a, b); a = 0; b = 0 }

  /* The link breaks without a word; later the node notices and subscribes again. What was under way is lost. */
  :: atomic { LINKS && subscribed[me] -> subscribed[me] = false }
  :: atomic { !subscribed[me] ->
      do
      :: channel[me]?_,_,_
      :: empty(channel[me]) -> break
      od;
      if
      :: node[me].beat == PUBLISHED -> noBeat(me)
      :: else
      fi;
      endRun(me);
      subscribed[me] = true }

  /* A read from the copy starts and is served in one step. */
  :: atomic { node[me].copy > 0 && node[me].copy < completed -> assert(false) }

  /* A read outside a run; one that opens a ticket and sends a fill; one that joins a fill; the fill's reply. */
  :: atomic { node[me].copy == 0 && node[me].trust == 0 && newest() < completed -> assert(false) }
  :: atomic { node[me].copy == 0 && node[me].fill == NONE && HAS(CACHES, me) && (node[me].trust > 0 || !RULE(RUN_FOR_TICKET)) ->
      node[me].clean = true;
      node[me].floor = completed;
      node[me].fill = SENT }
  :: atomic { node[me].fill != NONE && (node[me].clean || !RULE(JOINING)) && node[me].floor < completed ->
      node[me].floor = completed }
  :: atomic { node[me].fill == ANSWERED ->
      assert(node[me].filled >= node[me].floor);
      if
      :: node[me].clean && node[me].trust > 0 && node[me].filled != GONE -> node[me].copy = node[me].filled
      :: else
      fi;
      noFill() }

  /* Leaving: first the run ends, then the row goes. Joining again. */
  :: atomic { HAS(LEAVES, me) && node[me].member == IN ->
      if
      :: RULE(RUN_ENDS_FIRST) -> endRun(me)
      :: else
      fi;
      node[me].member = LEAVING }
  :: atomic { node[me].member == OUT -> row[me] = true; node[me].member = IN }
  od
}

/* ---- commits.ts, sessions.ts: a node that writes ---- */

inline noWrite() {
  node[me].write = NONE; node[me].verb = COMMIT; node[me].basis = 0; node[me].outcome = REFUSED; node[me].written = 0;
  node[me].keep = false; node[me].holder = false; node[me].left = 0; node[me].jumped = false;
  node[me].acked = 0
}

/* Whatever came of it, the writer's own copy and its fills under way are older. */
inline dropOwn() {
  node[me].copy = (RULE(OWN_COPY) -> 0 : node[me].copy);
  node[me].clean = (RULE(OWN_TICKET) -> false : node[me].clean)
}

/* As if nobody's copies were known: no ack helps. */
inline waitFully() { node[me].holder = false; node[me].left = LEASE; node[me].write = WAITING }

inline complete() {
  if
  :: node[me].written > completed -> completed = node[me].written
  :: else
  fi;
  noWrite()
}

proctype Writer(byte me) {
  do
  :: atomic { HAS(COMMITS, me) && node[me].write == NONE && !ended && version < VERSIONS ->
      node[me].verb = COMMIT;
      node[me].basis = version; /* known from a read or a conflict; by the time the script runs it may be old */
      node[me].keep = (node[me].trust > 0 && HAS(CACHES, me));
      node[me].write = SENT }
  :: atomic { HAS(ENDS, me) && node[me].write == NONE && completed < GONE -> node[me].verb = END; node[me].write = SENT }

  /* The reply. An end that finds the mark doesn't know who was told; a clock that jumped shortened what the engine grants. */
  :: atomic { node[me].write == ANSWERED ->
      dropOwn();
      if
      :: node[me].keep && node[me].outcome == COMMITTED -> node[me].copy = node[me].written
      :: else
      fi;
      node[me].keep = false;
      if
      :: node[me].outcome == REFUSED -> noWrite()
      :: node[me].outcome == MARKED && RULE(WAIT_AT_MARK) -> waitFully()
      :: node[me].outcome != REFUSED && RULE(DOUBT) && (node[me].jumped || node[me].doubt > 0) -> waitFully()
      :: else -> node[me].write = WAITING
      fi }
  :: atomic { node[me].write == WAITING && (node[me].left == 0 || !RULE(WAIT)) -> complete() }
  :: atomic { node[me].acked > 0 && node[me].holder && (node[me].acked == node[me].written || !RULE(NAMED_ACK)) ->
      node[me].acked = 0; node[me].holder = false; node[me].left = 0 }
  :: atomic { node[me].acked > 0 && !node[me].holder -> node[me].acked = 0 }

  /* No reply, or the caller is gone: the outcome is unknown. The command may be lost, or run later; an end may be sent again. */
  :: atomic { node[me].write != NONE ->
      dropOwn();
      if
      :: HAS(LATE, me) && node[me].write == SENT && !node[me].late ->
        node[me].late = true; node[me].lateVerb = node[me].verb; node[me].lateBasis = node[me].basis
      :: true
      fi;
      noWrite() }
  od
}

/* ---- time ---- */

inline down(timer) {
  if
  :: timer > 0 -> timer--
  :: else
  fi
}

proctype Clock() {
  byte n;
  do
  :: d_step {
      n = 0;
      do
      :: n < NODES ->
        if
        :: node[n].trust > 1 -> node[n].trust--
        :: node[n].trust == 1 -> endRun(n) /* a lapse */
        :: else
        fi;
        if
        :: node[n].beat != NONE && node[n].age < LEASE -> node[n].age++
        :: else
        fi;
        if
        :: node[n].write == WAITING -> down(node[n].left)
        :: else
        fi;
        down(node[n].doubt);
        down(rowLeft[n]);
        n++
      :: else -> break
      od;
      down(toldLeft);
      if
      :: toldLeft == 0 -> told = 0
      :: else
      fi;
      n = 0 }
  /* The engine's clock jumps ahead, once: what it granted seems to be over sooner. */
  :: atomic { STEP > 0 && stepped == 0 ->
      do
      :: stepped < STEP -> stepped++
      :: stepped > 0 -> break
      od;
      n = 0;
      do
      :: n < NODES -> rowLeft[n] = (rowLeft[n] > stepped -> rowLeft[n] - stepped : 0); n++
      :: else -> break
      od;
      n = 0;
      toldLeft = (toldLeft > stepped -> toldLeft - stepped : 0);
      told = (toldLeft > 0 -> told : 0) }
  /* The engine, short of memory, evicts the record. */
  :: atomic { EVICTION && !evicted && !ended -> evicted = true; missing = true; copies = 0; told = 0; toldLeft = 0 }
  od
}

init {
  byte n;
  atomic {
    c_code { if (getenv("WITHOUT")) now.without = atoi(getenv("WITHOUT")); }
    do
    :: n < NODES ->
      node[n].outcome = REFUSED;
      row[n] = true;
      subscribed[n] = true;
      run Scripts(n);
      if
      :: HAS(CACHES, n) || STEP > 0 -> run Cache(n) /* a writer's own beats measure the clock */
      :: else
      fi;
      if
      :: HAS(COMMITS | ENDS, n) -> run Writer(n)
      :: else
      fi;
      n++
    :: else -> break
    od;
    n = 0;
    run Clock()
  }
}
