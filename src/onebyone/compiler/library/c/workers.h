/* Threads that a context starts for itself: between calls they look for a while, then sleep.

   Words that others write are read and written by sequentially consistent operations, as in the
   machine code. Nothing is locked, so that a fork can leave nothing locked. */

enum { SPIN_NANOSECONDS = 100000, AWAKE = -1 };

struct worker {
    struct workers *all;
    int number;
    int core; /* that it sleeps on, or AWAKE */
    pid_t id; /* the system's number of its thread; 0 before it runs */
    int is_moved;
    cpu_set_t before, meanwhile; /* where it may run, and where it may during this call */
    pthread_t thread;
};

struct workers {
    uint32_t calls, sleepers; /* who waits for a call sleeps on their number */
    int64_t *job;             /* words of the program that the latest call runs */
    int64_t spins;
    int count, is_over;
    pid_t process; /* that they run in; a forked child has none of them */
    struct worker *each;
};

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How many pauses of this processor last as long as a thread should look. */
static int64_t count_spins(void) {
    enum { TRIED = 2000 };
    uint64_t start = nanoseconds();
    for (int i = 0; i < TRIED; i++)
        pause_processor();
    uint64_t passed = nanoseconds() - start;
    return (int64_t)((uint64_t)TRIED * SPIN_NANOSECONDS / (passed ? passed : 1)) + 1;
}

static void sleep_while(uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(struct workers *workers) {
    __atomic_fetch_add(&workers->calls, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&workers->sleepers, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, &workers->calls, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void wait_for_call(struct worker *worker, uint32_t seen) {
    struct workers *workers = worker->all;
    for (int64_t look = 0; look < workers->spins; look++) {
        if (__atomic_load_n(&workers->calls, __ATOMIC_SEQ_CST) != seen)
            return;
        pause_processor();
    }
    __atomic_store_n(&worker->core, sched_getcpu(), __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&workers->sleepers, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&workers->calls, __ATOMIC_SEQ_CST) == seen)
        sleep_while(&workers->calls, seen);
    __atomic_fetch_sub(&workers->sleepers, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&worker->core, AWAKE, __ATOMIC_SEQ_CST);
}

/* Keep a worker off a core, and off those that others sleep on if any are left. */
static void move_off(struct worker *worker, int core) {
    struct workers *all = worker->all;
    pid_t id = __atomic_load_n(&worker->id, __ATOMIC_SEQ_CST);
    if (!id || sched_getaffinity(id, sizeof worker->before, &worker->before) != 0)
        return;
    cpu_set_t others = worker->before;
    CPU_CLR(core, &others);
    if (!CPU_COUNT(&others))
        return;
    worker->meanwhile = others;
    for (int i = 0; i < all->count; i++) {
        int taken = __atomic_load_n(&all->each[i].core, __ATOMIC_SEQ_CST);
        if (taken != AWAKE)
            CPU_CLR(taken, &worker->meanwhile);
    }
    if (!CPU_COUNT(&worker->meanwhile))
        worker->meanwhile = others;
    worker->is_moved = sched_setaffinity(id, sizeof worker->meanwhile, &worker->meanwhile) == 0;
}

/* A worker that sleeps is woken where it last ran, and that is where the caller may be by now: both
   would take turns on one core. So for the time of the call it is kept off that core. */
static void make_room(struct workers *workers) {
    int core = sched_getcpu();
    for (int i = 0; i < workers->count; i++)
        if (core >= 0 && __atomic_load_n(&workers->each[i].core, __ATOMIC_SEQ_CST) == core)
            move_off(&workers->each[i], core);
}

/* Let workers run where they could before; one with a set of another's since then keeps it. */
static void let_go(struct workers *workers) {
    for (int i = 0; i < workers->count; i++) {
        struct worker *one = &workers->each[i];
        cpu_set_t now;
        CPU_ZERO(&now);
        if (one->is_moved && sched_getaffinity(one->id, sizeof now, &now) == 0
            && CPU_EQUAL(&now, &one->meanwhile))
            sched_setaffinity(one->id, sizeof one->before, &one->before);
        one->is_moved = 0;
    }
}

static void run_part(int64_t *words, int thread) {
    ((void (*)(int64_t *, int64_t))words[CONTEXT_RUN])(words, thread);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    struct workers *all = worker->all;
    __atomic_store_n(&worker->id, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    for (uint32_t seen = 0;;) {
        wait_for_call(worker, seen);
        seen = __atomic_load_n(&all->calls, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&all->is_over, __ATOMIC_SEQ_CST))
            return NULL;
        run_part(__atomic_load_n(&all->job, __ATOMIC_SEQ_CST), worker->number);
    }
}

/* Let them end, and wait for that. */
static void stop_workers(struct workers *workers) {
    if (workers->process == getpid() && workers->count) {
        __atomic_store_n(&workers->is_over, 1, __ATOMIC_SEQ_CST);
        wake_all(workers);
        for (int i = 0; i < workers->count; i++)
            pthread_join(workers->each[i].thread, NULL);
    }
    workers->count = 0;
}

/* Start `count` of them, numbered from 1; signals are for the caller's threads. */
static int start_workers(struct workers *workers, int count) {
    sigset_t all, before;
    int failed = 0;
    workers->calls = workers->sleepers = 0;
    workers->is_over = workers->count = 0;
    workers->process = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (workers->count < count && !failed) {
        struct worker *one = &workers->each[workers->count];
        *one = (struct worker){.all = workers, .core = AWAKE};
        one->number = workers->count + 1;
        failed = pthread_create(&one->thread, NULL, work, one);
        workers->count += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        stop_workers(workers);
    return failed ? OBO_ERROR_THREADS : OBO_OK;
}
