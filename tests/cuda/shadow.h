/* Finds races between the threads of a launch, though they run one after the other.

   Under -fsanitize=thread the compiler calls a function before each access to memory. The
   functions are here; nothing of the sanitizer's own library is linked. For each byte of
   the device's memory and of the block's shared memory a cell remembers who wrote it last,
   who has read it since, and when; other memory is a thread's own. Time is a
   number that grows whenever something may bring order. Two accesses to the same bytes,
   one of them a write, by different threads, must be ordered:

   - between launches all is, for there is one stream;
   - within a block by __syncthreads;
   - within a warp also by __syncwarp and by exchanges, for the lanes that their mask names;
   - between blocks by nothing but this: what a thread has done before a __threadfence that
     comes before an atomic operation of its block is released; a block whose atomic
     operation on the same number comes later acquires it.

   Atomic operations do not race with each other. A tile is loaded or stored by the warp as
   a whole: which lane touches what is the GPU's secret, so it is ordered with a lane's own
   access only where all lanes are. Such an instruction brings no order itself.

   Order is judged by what the program says, not by how it ran, so a race is found in every
   run that makes both accesses, whichever comes first. */
#ifndef SHADOW_H
#define SHADOW_H

#ifdef __SANITIZE_THREAD__

#include <algorithm>
#include <vector>

#define UNWATCHED __attribute__((no_sanitize("thread")))

namespace harness::shadow {

enum { TILE_WRITE = 1, ATOMIC_WRITE = 2, TILE_READ = 4, WARPS_READ = 8 };
enum kind { READ, WRITE, LOAD_TILE, STORE_TILE, ATOMIC };

/* Times of launches that are past mean nothing, so cells need not be cleared. */
struct cell {
    uint32_t written, read; /* when last */
    uint32_t read_before;   /* by an earlier block of the launch */
    uint32_t lanes;         /* which lanes of the reading warp, besides the warp as a whole */
    uint16_t writer, warp;  /* a thread, the first thread of a warp; the reading warp's first */
    uint8_t how;
};

/* What an atomic operation of a block has released: accesses of each thread before a time. */
struct release {
    const void *number;
    size_t count; /* of the launch's releases before it */
    std::vector<uint32_t> before;
};

struct acquisition {
    const void *number;
    size_t count; /* of the releases that had been made */
    unsigned thread;
    uint32_t when;
};

inline cell *device_cells, *shared_cells;
inline uintptr_t shared_at, program_at;
inline size_t shared_bytes;
inline uint32_t now, launch_began, block_began, barrier; /* the block's last one */
inline uint32_t meetings[MAX_THREADS / WARP];            /* the last one of all lanes */
/* what the lanes of its warp did before these times, a thread comes after */
inline uint32_t met[MAX_THREADS][WARP];

inline std::vector<uint32_t> blocks_began; /* of the launch */
inline std::vector<std::vector<release>> releases;
inline size_t release_count;
inline std::vector<acquisition> acquisitions;
inline uint32_t fences[MAX_THREADS], fenced[MAX_THREADS]; /* the last; before the barrier */
inline uint32_t fenced_all, fences_cover; /* what all threads did: before the barrier; since */

/* ---- What brings order ---- */

UNWATCHED inline void begin_launch()
{
    if (!device_cells)
        device_cells = (cell *)mmap(NULL, memory_bytes * sizeof(cell), PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (device_cells == MAP_FAILED)
        fail("cuda harness", "no room for the shadow of the device's memory");
    if (now > UINT32_MAX / 2) /* a launch is far shorter than that */
        fail("cuda harness", "too much has happened for the shadow to tell when");
    launch_began = ++now;
    blocks_began.clear();
    releases.clear();
    release_count = 0;
}

/* begin_block: what earlier ones did in shared memory counts no more. */
UNWATCHED inline void begin_block()
{
    block_began = barrier = ++now;
    fenced_all = fences_cover = 0;
    blocks_began.push_back(block_began);
    releases.emplace_back();
    acquisitions.clear();
}

UNWATCHED inline void find_shared(const void *at, size_t bytes, uintptr_t program)
{
    shared_at = (uintptr_t)at;
    shared_bytes = bytes;
    program_at = program;
    if (!shared_cells)
        shared_cells = new cell[bytes]();
}

UNWATCHED inline void pass_barrier()
{
    if (fences_cover) {
        memcpy(fenced, fences, threads * sizeof *fenced);
        fenced_all = std::max(fenced_all, fences_cover);
        fences_cover = 0;
    }
    barrier = ++now;
}

/* order_lanes: those of the mask, in the warp whose first thread this is. */
UNWATCHED inline void order_lanes(unsigned first, unsigned mask)
{
    now++;
    if (mask == 0xffffffff) {
        meetings[first / WARP] = now;
        return;
    }
    uint32_t all[WARP] = {};
    for (unsigned i = 0; i < WARP; i++)
        for (unsigned j = 0; j < WARP; j++)
            if (mask >> i & 1)
                all[j] = mask >> j & 1 ? now : std::max(all[j], met[first + i][j]);
    for (unsigned i = 0; i < WARP; i++)
        if (mask >> i & 1)
            memcpy(met[first + i], all, sizeof all);
}

UNWATCHED inline void fence()
{
    fences[current - fibers] = ++now;
    fences_cover = barrier;
}

/* release_and_acquire: what an atomic operation does, beside being one. */
UNWATCHED inline void release_and_acquire(const void *number)
{
    unsigned thread = (unsigned)(current - fibers);
    uint32_t all = fences[thread] > barrier ? barrier : fenced_all;
    release r = {number, release_count++, std::vector<uint32_t>(fenced, fenced + threads)};
    r.before[thread] = fences[thread];
    for (uint32_t &before : r.before)
        before = std::max(before, all);
    acquisitions.push_back({number, r.count, thread, ++now});
    releases.back().push_back(std::move(r));
}

/* ---- Who comes after whom ---- */

/* An access, by a thread or by a warp as a whole. */
struct access {
    enum kind kind;
    unsigned thread; /* or the first of the warp */
    const void *code;

    UNWATCHED bool writes() const { return kind == WRITE || kind == STORE_TILE || kind == ATOMIC; }
    UNWATCHED bool by_warp() const { return kind == LOAD_TILE || kind == STORE_TILE; }
    UNWATCHED unsigned warp() const { return thread / WARP * WARP; }
};

/* acquired: whether what these threads of an earlier block did then is ordered before this. */
UNWATCHED inline bool acquired(const access &a, uint32_t when, unsigned first, unsigned count)
{
    size_t block = std::upper_bound(blocks_began.begin(), blocks_began.end(), when) - blocks_began.begin() - 1;
    for (const acquisition &q : acquisitions) {
        if (q.when >= barrier && (q.thread != a.thread || a.by_warp()))
            continue; /* known to its thread alone */
        for (const release &r : releases[block]) {
            auto from = r.before.begin() + first, to = std::min(from + count, r.before.end());
            if (r.number == q.number && r.count < q.count && when < *std::min_element(from, to))
                return true;
        }
    }
    return false;
}

/* lanes_ordered: whether what these lanes of the warp did then is ordered before this. */
UNWATCHED inline bool lanes_ordered(const access &a, uint32_t when, unsigned lanes)
{
    unsigned own = a.by_warp() ? 0 : 1u << a.thread % WARP;
    if (!(lanes & ~own) || meetings[a.warp() / WARP] > when)
        return true;
    for (unsigned i = 0; i < WARP; i++)
        for (unsigned j = 0; j < WARP; j++)
            if ((lanes >> i & 1) && i != j && (a.by_warp() || a.thread % WARP == j)
                && met[a.warp() + j][i] <= when)
                return false;
    return true;
}

/* after_write, after_reads: whether the access comes after what the cell remembers. */
UNWATCHED inline bool after_write(const access &a, const cell &c, bool shared)
{
    bool by_warp = c.how & TILE_WRITE;
    if (c.written < (shared ? block_began : launch_began) || (a.kind == ATOMIC && (c.how & ATOMIC_WRITE)))
        return true;
    if (c.written < block_began)
        return acquired(a, c.written, c.writer, by_warp ? WARP : 1);
    if (c.written < barrier || (c.writer == a.thread && by_warp == a.by_warp()))
        return true;
    return c.writer / WARP == a.thread / WARP
           && lanes_ordered(a, c.written, by_warp ? 0xffffffff : 1u << c.writer % WARP);
}

UNWATCHED inline bool after_reads(const access &a, const cell &c, bool shared)
{
    if (!shared && c.read_before >= launch_began && !acquired(a, c.read_before, 0, threads))
        return false;
    if (c.read < (shared ? block_began : launch_began))
        return true;
    if (c.read < block_began)
        return acquired(a, c.read, 0, threads);
    if (c.read < barrier)
        return true;
    unsigned lanes = (c.how & TILE_READ) && !a.by_warp() ? 0xffffffff : c.lanes;
    return !(c.how & WARPS_READ) && c.warp == a.warp() && lanes_ordered(a, c.read, lanes);
}

UNWATCHED inline void remember_read(const access &a, cell &c)
{
    if (c.read < block_began && c.read > c.read_before)
        c.read_before = c.read;
    if (c.read < barrier || (c.warp == a.warp() && !(c.how & WARPS_READ) && c.read < meetings[a.warp() / WARP])) {
        c.warp = (uint16_t)a.warp();
        c.lanes = 0;
        c.how &= TILE_WRITE | ATOMIC_WRITE;
    } else if (c.warp != a.warp())
        c.how |= WARPS_READ;
    if (a.by_warp())
        c.how |= TILE_READ;
    else
        c.lanes |= 1u << a.thread % WARP;
    c.read = now;
}

/* Whoever comes after a write comes after all that it came after. */
UNWATCHED inline void remember_write(const access &a, cell &c)
{
    c = {now, 0, 0, 0, (uint16_t)a.thread, 0, 0};
    c.how = a.kind == STORE_TILE ? TILE_WRITE : a.kind == ATOMIC ? ATOMIC_WRITE : 0;
}

/* ---- Accesses ---- */

[[noreturn, gnu::noinline]] inline void report(const access &a, const cell &c, const char *p, bool shared,
                                               bool written)
{
    char what[64] = "shared memory", who[64], since[512] = "its beginning";
    uint32_t when = written ? c.written : std::max(c.read, c.read_before);
    size_t at = (uintptr_t)p - shared_at;
    auto next = arrays.upper_bound((char *)p);
    if (!shared && next != arrays.begin()) {
        --next;
        at = (size_t)(p - next->first);
        snprintf(what, sizeof what, "an array of %zu bytes", next->second);
    }
    if (when < block_began || (!written && c.read_before >= launch_began))
        snprintf(who, sizeof who, "another block");
    else if (written && !(c.how & TILE_WRITE))
        snprintf(who, sizeof who, "thread %u", c.writer);
    else
        snprintf(who, sizeof who, "a thread of warp %u", (written ? c.writer : c.warp) / WARP);
    if (current->file)
        snprintf(since, sizeof since, "%s:%d", current->file, current->line);
    fault("a race: %s %u %s byte %zu of %s, which %s has %s; nothing orders them (after %s; addr2line -i: %#zx)",
          a.by_warp() ? "the warp of thread" : "thread", a.thread, a.writes() ? "writes" : "reads", at, what, who,
          written ? "written" : "read", since, (size_t)((uintptr_t)a.code - program_at - 1));
}

UNWATCHED inline void touch(const access &a, uintptr_t p, size_t bytes, bool shared)
{
    cell *cells = shared ? shared_cells + (p - shared_at) : device_cells + (p - (uintptr_t)memory);
    unsigned lane = 1u << a.thread % WARP;
    for (size_t i = 0; i < bytes; i++) {
        cell &c = cells[i];
        if (a.kind == READ && c.read == now && c.warp == a.warp() && (c.lanes & lane))
            continue; /* as just now */
        if (!after_write(a, c, shared))
            report(a, c, (char *)p + i, shared, true);
        if (a.writes() && !after_reads(a, c, shared))
            report(a, c, (char *)p + i, shared, false);
        if (a.writes())
            remember_write(a, c);
        else
            remember_read(a, c);
    }
}

[[gnu::always_inline]] UNWATCHED inline void touch(enum kind kind, const void *at, size_t bytes, const void *code)
{
    uintptr_t p = (uintptr_t)at;
    bool shared = p - shared_at < shared_bytes;
    if ((shared || p - (uintptr_t)memory < memory_bytes) && running)
        touch({kind, (unsigned)(current - fibers), code}, p, bytes, shared);
}

/* touch_tile: the sixteen rows, or columns, of one; for all lanes it is called once. */
[[gnu::always_inline]] UNWATCHED inline void touch_tile(bool store, const void *tile, size_t stride_bytes,
                                                        size_t row_bytes)
{
    unsigned first = (unsigned)(current - fibers) / WARP * WARP;
    for (int i = 0; i < 16; i++) {
        uintptr_t p = (uintptr_t)tile + i * stride_bytes;
        bool shared = p - shared_at < shared_bytes;
        if (shared || p - (uintptr_t)memory < memory_bytes)
            touch({store ? STORE_TILE : LOAD_TILE, first, __builtin_return_address(0)}, p, row_bytes, shared);
    }
}

[[gnu::always_inline]] UNWATCHED inline void touch_atomic(const void *number)
{
    touch(ATOMIC, number, sizeof(unsigned), __builtin_return_address(0));
    release_and_acquire(number);
}

} // namespace harness::shadow

/* ---- What the compiler calls ---- */

#define HOOK(kind, name, bytes)                                                             \
    extern "C" [[gnu::used, gnu::weak]] UNWATCHED void __tsan_##name(void *p)               \
    {                                                                                       \
        harness::shadow::touch(harness::shadow::kind, p, bytes, __builtin_return_address(0)); \
    }

HOOK(READ, read1, 1)
HOOK(READ, read2, 2)
HOOK(READ, read4, 4)
HOOK(READ, read8, 8)
HOOK(READ, read16, 16)
HOOK(READ, unaligned_read2, 2)
HOOK(READ, unaligned_read4, 4)
HOOK(READ, unaligned_read8, 8)
HOOK(READ, unaligned_read16, 16)
HOOK(WRITE, write1, 1)
HOOK(WRITE, write2, 2)
HOOK(WRITE, write4, 4)
HOOK(WRITE, write8, 8)
HOOK(WRITE, write16, 16)
HOOK(WRITE, unaligned_write2, 2)
HOOK(WRITE, unaligned_write4, 4)
HOOK(WRITE, unaligned_write8, 8)
HOOK(WRITE, unaligned_write16, 16)

#undef HOOK
#define HOOK(declaration) extern "C" [[gnu::used, gnu::weak]] UNWATCHED declaration

HOOK(void __tsan_read_range(void *p, size_t bytes))
{
    harness::shadow::touch(harness::shadow::READ, p, bytes, __builtin_return_address(0));
}

HOOK(void __tsan_write_range(void *p, size_t bytes))
{
    harness::shadow::touch(harness::shadow::WRITE, p, bytes, __builtin_return_address(0));
}

/* The host's own: the guards of its variables, its objects' tables of functions. */
HOOK(unsigned char __tsan_atomic8_load(const volatile unsigned char *p, int))
{
    return *p;
}

HOOK(void __tsan_vptr_update(void **, void *)) {}
HOOK(void __tsan_vptr_read(void **)) {}
HOOK(void __tsan_func_entry(void *)) {}
HOOK(void __tsan_func_exit()) {}
HOOK(void __tsan_init()) {}

#undef HOOK

#else

#define UNWATCHED

namespace harness::shadow {

inline void begin_launch() {}
inline void begin_block() {}
inline void find_shared(const void *, size_t, uintptr_t) {}
inline void pass_barrier() {}
inline void order_lanes(unsigned, unsigned) {}
inline void fence() {}
inline void touch_tile(bool, const void *, size_t, size_t) {}
inline void touch_atomic(const void *) {}

} // namespace harness::shadow

#endif
#endif
