/* The family protocol of docs/protocol.md, for the model checker Spin.
 *
 * One refresh-token family in one store with a replica; one browser whose tabs
 * share a jar of cookies, whose disk is some time behind the jar; a network that
 * loses, delays and reorders; a store that executes an operation twice; and a
 * thief. One process does, again and again, any one of the things that can
 * happen. docs/model.md explains it; model_test.go runs it with each rule as it
 * is, and with each rule weakened.
 *
 * Time passes in ticks. Any number of things happen within a tick, in any order.
 * Generations are relative to the store's, which is always NOW: the states are
 * finite however long a family lives, so that Spin visits them all.
 */

/* What is assumed, in ticks. */
#ifndef SETTLE
#define SETTLE   4 /* the settle time */
#endif
#ifndef ACCESS
#define ACCESS   8 /* the lifetime of an access token */
#endif
#ifndef FRESH
#define FRESH    3 /* the fresh time */
#endif
#ifndef REQUEST
#define REQUEST  1 /* a request reaches the store so late, or never */
#endif
#ifndef RESPONSE
#define RESPONSE 1 /* and its answer the browser */
#endif
#ifndef RETRY
#define RETRY    1 /* an operation is executed again so late */
#endif
#ifndef RESTORE
#define RESTORE  1 /* the disk is so far behind the jar */
#endif
#ifndef LAG
#define LAG      1 /* and the replica behind the store */
#endif
#ifndef HOLD
#define HOLD     0 /* a request is held up for so long; 0: none is */
#endif
#ifndef HELD_REPLAYS
#define HELD_REPLAYS 0 /* also one whose browser had already lost an answer */
#endif
#define SKEW (SETTLE / 2) /* what clocks may differ by */

/* What can happen: set by -D. */
#ifndef DUPLICATES
#define DUPLICATES 0 /* an operation is executed again although it was answered */
#endif
#ifndef FAILOVER
#define FAILOVER   0 /* the replica takes over, and what it lacks is lost */
#endif
#ifndef EAGER
#define EAGER      0 /* tabs ask for a refresh whenever they like */
#endif
#ifndef THIEF
#define THIEF      0 /* somebody copies the refresh cookie, again and again */
#endif
#ifndef BOUND
#define BOUND      0 /* a native app: the key is known from the login on */
#endif
#ifndef BINDING
#define BINDING    0 /* a browser: a signed refresh pins the key, at some time */
#endif

/* The rules, and what is weaker. */
#if defined(GRACE)           /* a window from the rotation in place of settling */
#define SETTLED (store.made >= SETTLE)
#elif defined(SINGLE_USE)
#define SETTLED true
#elif defined(NEVER_SETTLES) /* the predecessor stays good until the next rotation */
#define SETTLED false
#else
#define SETTLED store.settled
#endif

#ifdef FROM_ROTATION         /* the proof's age is the generation's, not the token's */
#define PROVES(t) (store.made >= SETTLE)
#define LOOKS_OLD true
#else
#ifndef PROOF
#define PROOF SETTLE         /* how old an access token must be to prove anything */
#endif
#define PROVES(t) (t.age >= PROOF)
#define LOOKS_OLD (jar.age + REQUEST >= PROOF)
#endif

#ifdef NO_REPEATED           /* operations have no names */
#define NAMED(mine, whose) false
#else
#define NAMED(mine, whose) (mine != 0 && mine == whose)
#endif

#ifdef NO_OVERTAKEN          /* whatever comes late is theft */
#define LEFT_BEHIND(p, late) false
#else
#define LEFT_BEHIND(p, late) (late > 0 && \
  (p + 1 == NOW -> store.made < late + SETTLE - SKEW : store.made + SKEW < late))
#endif

#ifdef REFUSE_BEHIND
#define NEWER REFUSED
#else
#define NEWER BEHIND
#endif

#ifdef NO_PROOF              /* the key is kept, and nobody asks for it */
#define KEY_ASKED(p) false
#elif defined(NO_PROOF_AT_REPLAY)
#define KEY_ASKED(p) (p == NOW)
#else
#define KEY_ASKED(p) true
#endif

/* How old a generation is, where a rule asks; else it is always 0. */
#if defined(GRACE) || defined(FROM_ROTATION)
#define MADE SETTLE
#elif HOLD
#define MADE (HOLD + SETTLE)
#else
#define MADE 0
#endif

#define NOW    4   /* the store's generation; 0 is so old that all are alike */
#define NOTHING 255

mtype = { UNPROVEN, REPEATED, FRESHLY, ROTATED, REPLAYED, BEHIND, REFUSED, OVERTAKEN, REUSED };
#define ACCEPTED(o) (o == REPEATED || o == FRESHLY || o == ROTATED || o == REPLAYED || o == BEHIND)

/* A refresh token, with the age of the access token that it came with. */
typedef Token { byte gen; byte age }

/* What is on its way. A call that is to be made again has a name. */
#define ASKING    1
#define CALLING   2 /* executed, the reply was lost, and about to be executed again */
#define ANSWERING 3
typedef Parcel {
  byte kind; byte gen; byte age; byte at; /* how long it has been on its way */
  bit force;  /* asks for a refresh, whatever the access token is good for */
  bit orphan  /* its browser crashed meanwhile */
}

typedef Record {
  byte gen; bit settled; bit key;
  byte attempt; byte prior; /* the names that made this generation, and the one before */
  byte made; byte used      /* how long ago it was made, and handed out */
}

Record store, replica;
byte lag;         /* how long the replica has lacked something */
Token jar, disk;
byte behind;      /* how long the disk has lacked something */
Parcel slot[2];   /* at most two messages of the browser are on their way */
Parcel dup;       /* and one call that comes again, or comes late, for nobody */
byte told = NOTHING; /* a generation of which the store is about to hear that it settled */
byte stolen = NOTHING;
bit robbed, dead; /* dead: the owner has been back, and settled what followed on stolen */
bit caught;       /* reuse was detected */
bit over;
mtype out = ROTATED;
byte d, k;

#define SAME_RECORD (replica.gen == store.gen && replica.settled == store.settled && replica.key == store.key && \
  replica.attempt == store.attempt && replica.prior == store.prior && replica.made == store.made && replica.used == store.used)

#define older(x) x = (x == NOTHING -> NOTHING : (x > d -> x - d : 0))
#define younger(x) x = (x == NOTHING -> NOTHING : x + d)

/* The store's generation moves by d: everything else is relative to it. */
inline forward() {
  older(jar.gen); older(disk.gen); older(slot[0].gen); older(slot[1].gen); older(dup.gen);
  older(replica.gen); older(stolen); older(told);
  told = (told == 0 -> NOTHING : told)
}
inline backward() {
  younger(jar.gen); younger(disk.gen); younger(slot[0].gen); younger(slot[1].gen); younger(dup.gen);
  younger(stolen); younger(told)
}

inline copyRecord(to, from) {
  to.gen = from.gen; to.settled = from.settled; to.key = from.key;
  to.attempt = from.attempt; to.prior = from.prior; to.made = from.made; to.used = from.used
}
inline rename(old, new) {
  if :: store.attempt == old -> store.attempt = new :: else fi;
  if :: store.prior == old -> store.prior = new :: else fi;
  if :: replica.attempt == old -> replica.attempt = new :: else fi;
  if :: replica.prior == old -> replica.prior = new :: else fi
}
inline clear(m) { m.kind = 0; m.gen = 0; m.age = 0; m.at = 0; m.force = 0; m.orphan = 0 }

/* The table of docs/protocol.md: what a family answers to generation p. Whoever
 * presents it may have read the clock late ticks ago. */
inline rotate(shown, name, proven, late) {
  out = (store.key && KEY_ASKED(shown) && !(proven)                  -> UNPROVEN :
        ((shown + 1 == NOW && NAMED(name, store.attempt)) ||
         (shown + 2 == NOW && NAMED(name, store.prior))              -> REPEATED :
        (shown == NOW && store.used < FRESH + late                   -> FRESHLY :
        (shown == NOW                                                -> ROTATED :
        (shown + 1 == NOW && !SETTLED                                -> REPLAYED :
        (shown > NOW                                                 -> NEWER :
        (LEFT_BEHIND(shown, late)                                    -> OVERTAKEN : REUSED)))))));
  if
  :: out == ROTATED || out == BEHIND ->
     store.prior = (out == ROTATED -> store.attempt : 0);
     store.attempt = name;
     store.settled = 0; store.used = (late < FRESH -> late : FRESH); store.made = (late < MADE -> late : MADE);
     d = shown + 1 - NOW;
     forward()
  :: out == REPLAYED && late < store.used -> store.used = late
  :: out == REUSED ->
     caught = 1;
#ifndef REFUSE_ONLY          /* reuse is refused, and the family lives */
     over = 1
#endif
  :: else
  fi;
#ifdef REACH                 /* shows that the model gets so far */
  assert(out != REACH)
#endif
}

/* The store hears that the client keeps generation g. */
#define settle(g) store.settled = (g == NOW || store.settled)

inline send(f) {
  k = (slot[0].kind -> 1 : 0);
  slot[k].kind = ASKING; slot[k].gen = jar.gen; slot[k].age = jar.age; slot[k].force = f
}

/* A request with a good access token: it may prove something. */
inline use(m) {
  if
  :: printf("generation %d is shown in use, and settles\n", m.gen - NOW); settle(m.gen)
  :: told == NOTHING -> printf("generation %d is shown in use, and the store will be told\n", m.gen - NOW); told = m.gen
  fi;
  clear(m)
}

/* A request that renews, and what becomes of its answer. */
inline present(m, name) {
  bit again, lingers, answered;
  if
  :: again = 0; lingers = 0; answered = 0
  :: !m.orphan -> again = 0; lingers = 0; answered = 1
  :: !m.orphan && m.kind == ASKING -> again = 1; lingers = 0; answered = 0
  :: DUPLICATES && m.kind == ASKING && dup.kind == 0 -> again = 0; lingers = 1; answered = 0
  :: DUPLICATES && m.kind == ASKING && dup.kind == 0 && !m.orphan -> again = 0; lingers = 1; answered = 1
  fi;
  if :: lingers -> dup.kind = CALLING; dup.gen = m.gen; dup.age = m.age :: else fi;
  printf("generation %d asks for a renewal, ", m.gen - NOW);
  rotate(m.gen, (lingers -> 3 : (again || m.kind == CALLING -> name : 0)), BOUND, 0);
  printf("%e: again %d, lingers %d, answered %d\n", out, again, lingers, answered);
  if :: m.kind == CALLING -> rename(name, 0) :: else fi;
  if
  :: ACCEPTED(out) && answered -> clear(m); m.kind = ANSWERING; m.gen = NOW
  :: ACCEPTED(out) && again -> m.kind = CALLING; m.at = 0
  :: else -> clear(m); if :: !ACCEPTED(out) && lingers -> clear(dup) :: else fi
  fi;
  again = 0; lingers = 0; answered = 0;
  /* The first promise. A signed refresh is the way out of UNPROVEN. */
  refused = !ACCEPTED(out) && out != UNPROVEN && out != OVERTAKEN
}
#define HONEST assert(!refused || robbed)

inline crash(m, name) {
  if
  :: m.kind == ASKING -> m.orphan = 1
  :: m.kind == CALLING && dup.kind == 0 && DUPLICATES ->
     rename(name, 3); dup.kind = CALLING; dup.gen = m.gen; dup.age = m.age; dup.at = m.at; clear(m)
  :: else -> if :: m.kind == CALLING -> rename(name, 0) :: else fi; clear(m)
  fi
}

/* A message grows older, and is lost in the end. */
inline grow(m, name, limit) {
  if
  :: m.kind == 0
  :: m.kind != 0 && m.at >= (m.kind == ASKING -> limit : (m.kind == CALLING -> RETRY : RESPONSE)) ->
     if :: m.kind == CALLING -> rename(name, 0) :: else fi;
     clear(m)
  :: else -> m.at++; m.age = (m.age < ACCESS -> m.age + 1 : ACCESS)
  fi
}

inline tick() {
  store.used = (store.used < FRESH -> store.used + 1 : FRESH);
  store.made = (store.made < MADE -> store.made + 1 : MADE);
  jar.age = (jar.age < ACCESS -> jar.age + 1 : ACCESS);
  disk.age = (disk.age < ACCESS -> disk.age + 1 : ACCESS);
  if
  :: FAILOVER && !(SAME_RECORD) && lag < LAG ->
     replica.used = (replica.used < FRESH -> replica.used + 1 : FRESH);
     replica.made = (replica.made < MADE -> replica.made + 1 : MADE);
     lag++
  :: else -> copyRecord(replica, store); lag = 0
  fi;
  if
  :: (jar.gen != disk.gen || jar.age != disk.age) && behind < RESTORE -> behind++
  :: else -> disk.gen = jar.gen; disk.age = jar.age; behind = 0
  fi;
  grow(slot[0], 1, REQUEST);
  grow(slot[1], 2, REQUEST);
  grow(dup, 3, HOLD)
}

active proctype world() {
  bit refused;
  store.gen = NOW; replica.gen = NOW; jar.gen = NOW; disk.gen = NOW;
  store.key = BOUND; replica.key = BOUND;
  do
  :: over -> break
  :: !over -> atomic {
     if
     :: printf("a tick passes\n"); tick()

     /* The browser. */
     :: (slot[0].kind == 0 || slot[1].kind == 0) && LOOKS_OLD ->
        printf("a tab sends a request with generation %d\n", jar.gen - NOW); send(0)
     :: (slot[0].kind == 0 || slot[1].kind == 0) && (EAGER || jar.age >= SETTLE) ->
        printf("a tab asks for a refresh with generation %d\n", jar.gen - NOW); send(1)
     :: HOLD && dup.kind == 0 && jar.age >= SETTLE && (HELD_REPLAYS || jar.gen >= NOW) ->
        printf("a refresh with generation %d is held up, and its tab gives up\n", jar.gen - NOW);
        dup.kind = ASKING; dup.gen = jar.gen
     :: (jar.gen != disk.gen || jar.age != disk.age) ->
        if
        :: printf("the disk has all cookies\n")
        :: printf("the browser crashes, and comes back with generation %d\n", disk.gen - NOW);
           crash(slot[0], 1); crash(slot[1], 2);
           jar.gen = disk.gen; jar.age = disk.age
        fi;
        disk.gen = jar.gen; disk.age = jar.age; behind = 0

     /* The network and the service. */
     :: slot[0].kind == ASKING && !slot[0].force && slot[0].age < ACCESS && PROVES(slot[0]) -> use(slot[0])
     :: slot[1].kind == ASKING && !slot[1].force && slot[1].age < ACCESS && PROVES(slot[1]) -> use(slot[1])
     :: slot[0].kind == CALLING || (slot[0].kind == ASKING && (slot[0].force || slot[0].age == ACCESS)) -> present(slot[0], 1); HONEST
     :: slot[1].kind == CALLING || (slot[1].kind == ASKING && (slot[1].force || slot[1].age == ACCESS)) -> present(slot[1], 2); HONEST
     :: slot[0].kind != 0 || slot[1].kind != 0 ->
        if :: slot[0].kind != 0 -> k = 0 :: slot[1].kind != 0 -> k = 1 fi;
        if
        :: slot[k].kind == ANSWERING ->
           printf("the answer with generation %d arrives\n", slot[k].gen - NOW);
           jar.gen = slot[k].gen; jar.age = slot[k].age;
           if :: jar.gen == disk.gen && jar.age == disk.age -> behind = 0 :: else fi
        :: printf("the message with generation %d is lost\n", slot[k].gen - NOW);
           if :: slot[k].kind == CALLING -> rename(k + 1, 0) :: else fi
        fi;
        clear(slot[k])
     :: dup.kind == CALLING ->
        printf("a renewal with generation %d is executed again, ", dup.gen - NOW);
        rotate(dup.gen, 3, BOUND, 0); printf("%e\n", out);
        rename(3, 0); clear(dup);
        refused = !ACCEPTED(out) && out != UNPROVEN; HONEST
     :: dup.kind == ASKING ->
        printf("the refresh that was held up, with generation %d, ", dup.gen - NOW);
        rotate(dup.gen, 0, BOUND, dup.at); printf("%e\n", out);
        clear(dup);
        refused = !ACCEPTED(out) && out != OVERTAKEN && out != UNPROVEN; HONEST
     :: told != NOTHING ->
        printf("the store is told that generation %d settled\n", told - NOW);
        settle(told); told = NOTHING
     :: BINDING -> printf("the browser signs a refresh\n"); store.key = 1; store.used = 0

     /* The store. */
     :: FAILOVER && !(SAME_RECORD) ->
        if
        :: printf("the replica has it all\n"); copyRecord(replica, store)
        :: printf("the replica takes over, with generation %d\n", replica.gen - NOW);
           d = NOW - replica.gen; replica.gen = NOW;
           copyRecord(store, replica); backward()
        fi;
        lag = 0

     /* The thief. */
     :: THIEF && stolen != jar.gen ->
        printf("a thief copies generation %d\n", jar.gen - NOW);
        stolen = jar.gen; robbed = 1; dead = 0
     :: THIEF && stolen != NOTHING ->
        printf("the thief presents generation %d, ", stolen - NOW);
        rotate(stolen, 0, 0, 0); printf("%e\n", out);
        if
        :: ACCEPTED(out) ->
           assert(!dead);      /* the second promise */
           assert(!caught);    /* who was noticed is out */
           assert(!store.key); /* and without the key nobody was ever in */
           if :: stolen = NOW :: skip fi
        :: else
        fi
     fi;
     dead = dead || (stolen < NOW && store.settled);
     if :: stolen == NOTHING || stolen >= NOW -> dead = 0 :: else fi;
     out = ROTATED; d = 0; k = 0; refused = 0;
     if :: SAME_RECORD -> lag = 0 :: else fi
     }
  od
}
