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
#ifndef BACK /* or back */
#define BACK 0
#endif
#ifndef UNNOTICED /* up to here nobody sees that clocks disagree (the design: 250 ms) */
#define UNNOTICED 0
#endif
#ifndef EVICTION /* the engine may lose the record, copies and all */
#define EVICTION 0
#endif
#ifndef LOSS /* the engine may lose the ledger: leases, drop counts, fences; 2: and the rows and the record with it */
#define LOSS 0
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
#define DROP_TO_WRITER 15 /* the writer's own bit is told too if its node had given the command up: its fence says so */
#define BIT_FOR_WRITER 16 /* who keeps what it wrote is a holder */
#define TICKET_FOR_KEPT 17 /* and needs a ticket */
#define OWN_COPY 18 /* the writer drops its own copy when it hears of the outcome, or gives up */
#define OWN_TICKET 19 /* and voids its own tickets */
#define MARK 20 /* an ended mark answers late writes */
#define ANNOUNCE_AT_MARK 21 /* an end that finds the mark announces again, to whom the first one told */
#define DROP_WHEN_MISSING 22 /* an end or a create that finds no record tells everybody */
#define SUSPECT 23 /* the script compares its clock with when the writer says it sent the command */
#define DOUBT 24 /* a writer that saw the engine's clock jump says so, for one lease */
#define DOUBT_AT_JOIN 25 /* and one that has just joined */
#define TOLD_RAW 26 /* a suspect command counts told bits whose time is over */
#define FULL_LEASE 27 /* and gives every holder a full lease */
#define MARGIN 28 /* the engine counts leases longer, by what clocks may disagree unnoticed */
#define LOST_LEASE 29 /* no lease in the ledger counts as a full one */
#define LOST_LIVE 30 /* and makes a number live, where everybody is told */
#define LOST_COUNT 31 /* a lost count starts again from somewhere else */
#define LOST_ROWS 32 /* a writer without a row, or that has just joined, waits a full lease for no one in particular */
#define LATE_WHEN_MISSING 33 /* a late end or create that finds no record tells its own node, which had a bit perhaps */
#define OWN_UNTIL 34 /* no copy is served and no fill joined while an own write is under way for longer than till its give-up */
#define FENCE 35 /* whoever gave a command up says so with every fill */
#define FENCE_OF_WRITES 36 /* and with every write */
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

/* A node gives a command up this long after it sent it; one that runs within UNNOTICED runs before that. */
#define GIVE_UP (UNNOTICED + 1)
#define OLDEST (UNNOTICED + BACK + 1)

/* What the engine counts a copy lease with: longer than what a node trusts, by what clocks may disagree unnoticed. */
#define ENGINE_LEASE (RULE(MARGIN) -> LEASE + UNNOTICED : LEASE)

mtype = { NONE, SENT, READ, PUBLISHED, ANSWERED, WAITING };              /* how far a beat, a fill or a write is */
mtype = { COMMIT, END, CREATE };
mtype = { COMMITTED, ENDED, MARKED, MISSING, REFUSED };                  /* outcomes of a write */
mtype = { IN, LEAVING, OUT };
mtype = { ECHO, DROP };

typedef Node {
  /* cache/lease.ts. A run lives exactly while trust > 0. */
  byte trust;           /* ticks until trustedUntil */
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
  /* the write path: write-path.ts, ends.ts, commits.ts */
  mtype write = NONE;   /* NONE, SENT, ANSWERED, WAITING */
  mtype verb = COMMIT;
  byte basis;           /* the version that the commit expects */
  mtype outcome = COMMITTED;
  byte written;         /* the version that the script wrote */
  bool keep;            /* the commit's own ticket: may the new value be kept? */
  bool holder;          /* somebody is waited for: in these configurations there is one other holder at the most */
  byte left;            /* for how long at the most */
  byte sent;            /* ticks since it was sent */
  byte sentKnown;       /* the engine's clock as this node knew it then, for `sentAt` */
  bool doubtful;        /* the doubt that it carries */
  byte acked;           /* an ack on its way to this writer: the version in it */
  /* the engine's clock as this node knows it */
  byte known = BACK;    /* the clock's step by the last beat */
  byte doubt;           /* ticks until leases granted before a noticed step are over */
  /* a command that its node has given up, still in some buffer */
  bool late;
  mtype lateVerb = COMMIT;
  byte lateBasis;
  byte lateSent;
  byte lateKnown;
  bool lateDoubtful;
  bool fillAfter, writeAfter; /* sent after that was given up: they carry the next generation */
};
Node node[NODES];

/* The engine: the value, the registry's rows, the channel. */
byte version = 1;
bool ended, missing, evicted;
byte copies, told, toldLeft;
byte rowLeft[NODES];    /* of each node's copy lease, counted from its last beat */
bool row[NODES];
bool hole[NODES];       /* a drop to that number was lost since the run's first echo: its count is never again what the node expects */
bool subscribed[NODES];
byte stepped = BACK;    /* how far the engine's clock has jumped; BACK: not at all */
bool jumped;
bool lost, unknown[NODES]; /* the ledger was; it says nothing of that node's lease */
bool fence[NODES];      /* the engine has heard that this node gave its late command up */
chan channel[NODES] = [ROOM] of { mtype, byte, byte };   /* ECHO, count, engine's step | DROP, version, writer */

byte completed = 1;     /* the newest version whose writer has stopped waiting: what the promise is about */

/* ---- engines/redis/lua/…: each script is one atomic step ---- */

/*
 * Drop counts, by what comes of comparing them: since the channel is in order, an echo's count is what the node expects exactly if no drop was
 * lost between the publishing of the run's first echo and of this one.
 */
#define COMPARED(n) (node[n].trust > 0 || node[n].beat == PUBLISHED)
inline noBeat(m) {
  node[m].beat = NONE; node[m].age = 0; node[m].stale = false;
  hole[m] = hole[m] && node[m].trust > 0
}

/* Single messages get lost; what is published to a link that is cut always does. */
inline publish(n, kind, a, b) {
  if
  :: subscribed[n] && nfull(channel[n]) -> channel[n]!kind,a,b
  :: kind == DROP -> hole[n] = COMPARED(n)
  :: kind == ECHO -> noBeat(n)
  fi
}

#define DISAGREE(a, b) ((a) > (b) + UNNOTICED || (b) > (a) + UNNOTICED)
#define LEASE_OF(n) ((suspect && RULE(FULL_LEASE)) || (unknown[n] && RULE(LOST_LEASE)) -> ENGINE_LEASE : rowLeft[n])
#define LIVE(n) (HAS(CACHES, n) && row[n] && ((suspect && RULE(FULL_LEASE)) || (unknown[n] && RULE(LOST_LIVE)) || rowLeft[n] > 0))

/* Tells those who may have a copy, writes down who was told, and says whom the writer waits for. */
inline announce(w, everybody) {
  targets = copies | (toldLeft > 0 || (suspect && RULE(TOLD_RAW)) -> told : 0);
  copies = 0;
  told = 0;
  n = 0;
  do
  :: n < NODES && (HAS(targets, n) || (everybody && LIVE(n))) ->
    if
    :: n != w || (late && (HAS(targets, n) || RULE(LATE_WHEN_MISSING))) ->
      publish(n, DROP, version, w)
    :: else
    fi;
    if
    :: n != w && LEASE_OF(n) > 0 && (subscribed[n] || RULE(WAIT_FOR_SILENT)) -> holder = true; left = LEASE_OF(n)
    :: else
    fi;
    if
    :: RULE(TOLD) && (n != w || RULE(TOLD_FOR_WRITER)) -> told = told | BIT(n)
    :: else
    fi;
    n++
  :: n < NODES && !(HAS(targets, n) || (everybody && LIVE(n))) -> n++
  :: n == NODES -> break
  od;
  toldLeft = (told > 0 -> ENGINE_LEASE : 0);
  n = 0;
  targets = 0
}

inline keepBit(w, keeps) {
  if
  :: keeps && RULE(BIT_FOR_WRITER) -> copies = copies | BIT(w)
  :: else
  fi
}

inline commitScript(w, expects, keeps) {
  if
  :: ended && RULE(MARK) -> outcome = REFUSED /* gone */
  :: ended && !RULE(MARK) -> ended = false; version = expects + 1; outcome = COMMITTED
  :: !ended && !missing && version == expects ->
    version++;
    announce(w, false);
    keepBit(w, keeps);
    outcome = COMMITTED
  :: !ended && (missing || version != expects) -> outcome = REFUSED /* gone, or conflict */
  fi
}

inline createScript(w, keeps) {
  if
  :: !ended && missing ->
    missing = false; version++;
    announce(w, RULE(DROP_WHEN_MISSING)); /* who had copies went with the record */
    keepBit(w, keeps);
    outcome = COMMITTED
  :: else -> outcome = REFUSED /* gone, or there already */
  fi
}

inline endScript(w) {
  if
  :: ended ->
    if
    :: RULE(ANNOUNCE_AT_MARK) -> announce(w, false)
    :: else
    fi;
    outcome = MARKED
  :: !ended && missing ->
    ended = true; missing = false; version = GONE;
    announce(w, RULE(DROP_WHEN_MISSING));
    outcome = MISSING
  :: !ended && !missing ->
    ended = true; version = GONE;
    announce(w, false);
    outcome = ENDED
  fi
}

inline script(what, w, expects, keeps) {
  if
  :: what == COMMIT -> commitScript(w, expects, keeps)
  :: what == CREATE -> createScript(w, keeps)
  :: what == END -> endScript(w)
  fi
}

inline forget() { outcome = REFUSED; holder = false; left = 0; suspect = false; late = false }

/* A run ends: flush, void all tickets. What was sent before starts no other run. */
inline endRun(m) {
  node[m].trust = 0;
  hole[m] = hole[m] && node[m].beat == PUBLISHED;
  node[m].copy = 0;
  node[m].clean = false;
  node[m].keep = false;
  node[m].stale = (node[m].beat != NONE)
}

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
  bool holder, suspect, late;
  mtype outcome = REFUSED;
  do
  /* beat: renew the row; publish, to the node's own channel, its drop count and the engine's time */
  :: atomic { node[me].beat == SENT && row[me] ->
      rowLeft[me] = ENGINE_LEASE;
      unknown[me] = false;
      if
      :: !RULE(ECHO_RENEWS) && node[me].trust > 0 -> node[me].trust = LEASE - node[me].age /* by the command's reply */
      :: else
      fi;
      node[me].beat = PUBLISHED;
      hole[me] = hole[me] && node[me].trust > 0; /* this echo's count is what a new run compares with */
      publish(me, ECHO, hole[me], stepped) }
  :: atomic { node[me].beat == SENT && !row[me] -> /* fenced */
      noBeat(me);
      if
      :: node[me].member == IN -> endRun(me); node[me].member = OUT
      :: else
      fi }

  /* fill: set my bit and read, at once */
  :: atomic { node[me].fill == SENT && RULE(BIT_WITH_READ) ->
      fence[me] = fence[me] || (node[me].fillAfter && RULE(FENCE)); node[me].fillAfter = false;
      read(); setBit(); node[me].fill = ANSWERED }
  :: atomic { node[me].fill == SENT && !RULE(BIT_WITH_READ) -> read(); node[me].fill = READ }
  :: atomic { node[me].fill == READ -> setBit(); node[me].fill = ANSWERED }

  /* commit and end: the reply carries the engine's time */
  :: atomic { node[me].write == SENT ->
      fence[me] = fence[me] || (node[me].writeAfter && RULE(FENCE_OF_WRITES)); node[me].writeAfter = false;
      suspect = node[me].doubtful || (RULE(SUSPECT) && DISAGREE(node[me].sent + stepped, node[me].sentKnown));
      script(node[me].verb, me, node[me].basis, node[me].keep);
      if
      :: LOSS == 2 && !row[me] && RULE(LOST_ROWS) -> holder = false; left = ENGINE_LEASE
      :: else
      fi;
      node[me].basis = 0; node[me].sentKnown = 0; node[me].doubtful = false;
      node[me].outcome = outcome;
      node[me].written = (outcome == REFUSED -> 0 : version);
      node[me].holder = holder;
      node[me].left = left;
      node[me].write = ANSWERED;
      forget() }
  /* the same for a command that its node has given up */
  :: atomic { node[me].late ->
      suspect = node[me].lateDoubtful || (RULE(SUSPECT) && DISAGREE(node[me].lateSent + stepped, node[me].lateKnown));
      late = fence[me] && RULE(DROP_TO_WRITER);
      script(node[me].lateVerb, me, node[me].lateBasis, false);
      node[me].late = false; node[me].lateVerb = COMMIT; node[me].lateBasis = 0;
      node[me].lateSent = 0; node[me].lateKnown = 0; node[me].lateDoubtful = false;
      node[me].fillAfter = false; node[me].writeAfter = false; fence[me] = false;
      forget() }

  :: atomic { node[me].member == LEAVING -> row[me] = false; rowLeft[me] = 0; unknown[me] = false; node[me].member = OUT }
  od
}

/* ---- cache/lease.ts, cache/near-cache.ts: a node that keeps copies ---- */

#define CLOCK_JUMPS (STEP > 0 || BACK > 0)
inline measured(step) {
  if
  :: DISAGREE(step, node[me].known) -> node[me].doubt = (RULE(DOUBT) -> LEASE : 0)
  :: else
  fi;
  node[me].known = step
}
inline joined() {
  node[me].member = IN;
  node[me].known = stepped;
  node[me].doubt = ((CLOCK_JUMPS || LOSS == 2) && RULE(DOUBT_AT_JOIN) -> LEASE : 0)
}

inline heardEcho(count, step) {
  if
  :: DISAGREE(step, node[me].known) -> endRun(me)
  :: else ->
    if
    :: node[me].trust > 0 && count && RULE(COUNT) -> endRun(me)
    :: node[me].trust > 0 && (!count || !RULE(COUNT)) ->
      node[me].trust = (RULE(ECHO_RENEWS) -> FROM_ECHO(me) : node[me].trust)
    :: node[me].trust == 0 && HAS(CACHES, me) && (!node[me].stale || !RULE(FRESH_BEAT)) && FROM_ECHO(me) > 0 ->
      node[me].trust = FROM_ECHO(me)
    :: else
    fi
  fi;
  measured(step);
  noBeat(me)
}

inline heardDrop(dropped, writer) {
  if
  :: node[me].trust > 0 ->
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

/* An own write is under way for longer than until it should have been given up: the timer is late, or the whole node was. */
#define OVERDUE(m) (RULE(OWN_UNTIL) && (node[m].write == SENT || node[m].write == ANSWERED) && node[m].sent >= GIVE_UP)

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
  :: atomic { node[me].copy > 0 && node[me].copy < completed && !OVERDUE(me) -> assert(false) }

  /* A read outside a run; one that opens a ticket and sends a fill; one that joins a fill; the fill's reply. */
  :: atomic { node[me].copy == 0 && node[me].trust == 0 && newest() < completed -> assert(false) }
  :: atomic { node[me].copy == 0 && node[me].fill == NONE && HAS(CACHES, me) && (node[me].trust > 0 || !RULE(RUN_FOR_TICKET)) ->
      node[me].clean = true;
      node[me].fillAfter = node[me].late;
      node[me].floor = completed;
      node[me].fill = SENT }
  :: atomic { node[me].fill != NONE && ((node[me].clean && !OVERDUE(me)) || !RULE(JOINING)) && node[me].floor < completed ->
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
  :: atomic { node[me].member == OUT -> row[me] = true; joined() }
  od
}

/* A node that keeps no copies: its beats measure the clock, at once, for it jumps once only. */
proctype Beats(byte me) {
  do
  :: atomic { node[me].member == IN && node[me].known != stepped -> measured(stepped) }
  :: atomic { node[me].member == IN && (HAS(LEAVES, me) || !row[me]) -> node[me].member = OUT }
  :: atomic { node[me].member == OUT -> row[me] = true; joined() }
  od
}

/* ---- commits.ts, write-path.ts, ends.ts: a node that writes ---- */

inline noWrite() {
  node[me].write = NONE; node[me].verb = COMMIT; node[me].basis = 0; node[me].outcome = REFUSED; node[me].written = 0;
  node[me].keep = false; node[me].holder = false; node[me].left = 0;
  node[me].sent = 0; node[me].sentKnown = 0; node[me].doubtful = false; node[me].writeAfter = false;
  node[me].acked = 0
}

/* Whatever came of it, the writer's own copy and its fills under way are older. */
inline dropOwn() {
  node[me].copy = (RULE(OWN_COPY) -> 0 : node[me].copy);
  node[me].clean = (RULE(OWN_TICKET) -> false : node[me].clean)
}

inline complete() {
  if
  :: node[me].written > completed -> completed = node[me].written
  :: else
  fi;
  noWrite()
}

inline send() {
  node[me].sentKnown = node[me].known;
  node[me].doubtful = (node[me].doubt > 0);
  node[me].writeAfter = node[me].late;
  node[me].write = SENT
}

proctype Writer(byte me) {
  do
  :: atomic { HAS(COMMITS, me) && node[me].member == IN && node[me].write == NONE && !ended && version < VERSIONS ->
      node[me].verb = (missing -> CREATE : COMMIT);
      node[me].basis = (missing -> 0 : version); /* known from a read or a conflict; by the time the script runs it may be old */
      node[me].keep = (node[me].trust > 0 && HAS(CACHES, me));
      send() }
  :: atomic { HAS(ENDS, me) && node[me].member == IN && node[me].write == NONE && completed < GONE -> node[me].verb = END; send() }

  :: atomic { node[me].write == ANSWERED ->
      dropOwn();
      if
      :: node[me].keep && node[me].outcome == COMMITTED -> node[me].copy = node[me].written
      :: else
      fi;
      node[me].keep = false;
      node[me].sent = 0;
      if
      :: node[me].outcome == REFUSED -> noWrite()
      :: node[me].outcome != REFUSED && LOSS == 2 && node[me].doubt > 0 && RULE(LOST_ROWS) ->
        node[me].holder = false; node[me].left = ENGINE_LEASE; node[me].write = WAITING
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
        node[me].late = true; node[me].lateVerb = node[me].verb; node[me].lateBasis = node[me].basis;
        node[me].lateSent = node[me].sent; node[me].lateKnown = node[me].sentKnown; node[me].lateDoubtful = node[me].doubtful
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
        if
        :: (node[n].write == SENT || node[n].write == ANSWERED) && (node[n].sent < GIVE_UP || node[n].sent < OLDEST) -> node[n].sent++
        :: else
        fi;
        if
        :: node[n].late && node[n].lateSent < OLDEST -> node[n].lateSent++
        :: else
        fi;
        down(node[n].doubt);
        down(rowLeft[n]);
        n++
      :: else -> break
      od;
      down(toldLeft);
      n = 0 }
  /* The engine's clock jumps, once: ahead, and what it granted seems to be over sooner; or back, later. */
  :: atomic { STEP > 0 && !jumped ->
      jumped = true;
      do
      :: stepped < BACK + STEP -> stepped++
      :: stepped > BACK -> break
      od;
      n = 0;
      do
      :: n < NODES -> rowLeft[n] = (rowLeft[n] > stepped - BACK -> rowLeft[n] - (stepped - BACK) : 0); n++
      :: else -> break
      od;
      n = 0;
      toldLeft = (toldLeft > stepped - BACK -> toldLeft - (stepped - BACK) : 0) }
  :: atomic { BACK > 0 && !jumped ->
      jumped = true;
      do
      :: stepped > 0 -> stepped--
      :: stepped < BACK -> break
      od;
      n = 0;
      do
      :: n < NODES -> rowLeft[n] = (rowLeft[n] > 0 -> rowLeft[n] + BACK - stepped : 0); n++
      :: else -> break
      od;
      n = 0;
      toldLeft = (toldLeft > 0 -> toldLeft + BACK - stepped : 0) }
  /* The engine loses the ledger. Where nothing compares counts, there is nothing to lose. */
  :: atomic { LOSS && !lost ->
      lost = true;
      n = 0;
      do
      :: n < NODES ->
        rowLeft[n] = 0;
        unknown[n] = row[n];
        fence[n] = false;
        row[n] = row[n] && LOSS == 1;
        if
        :: RULE(LOST_COUNT) -> hole[n] = COMPARED(n)
        :: !RULE(LOST_COUNT) -> hole[n] = false /* it may come out as what the node expects */
        fi;
        n++
      :: else -> break
      od;
      if
      :: LOSS == 2 && !ended -> missing = true; copies = 0; told = 0; toldLeft = 0
      :: else
      fi;
      n = 0 }
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
      :: HAS(CACHES, n) -> run Cache(n)
      :: !HAS(CACHES, n) && (CLOCK_JUMPS || LOSS == 2) -> run Beats(n)
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
