/* Runs CUDA kernels on the CPU, unchanged, so that their faults are found without a GPU.

   The threads of a block are fibers on one core. A fiber runs until it comes to a barrier
   or to an exchange within its warp; when all that the barrier or exchange is for have
   come, they go on. Blocks, and the threads of a block, run in another order at each
   launch: a program that is right gives the same bits every time.

   What a GPU would punish ends the test, with the kernel, the block and the lines:
   - a barrier that not all threads of the block reach, or different ones at a time;
   - an exchange for which not all lanes of its mask come, or from a lane outside it;
   - a write beside an array of the device (a read there gives NaN, and so does one of
     shared memory that the block has not written);
   - a kernel that is given an address of the host, a host that follows one of the device;
   - a launch after a call that was refused, if the error was not taken in between;
   - a launch that is larger than a GPU takes.
   And nothing is done before it is waited for: what is handed over for copying must stay
   as it is until then. Of several streams now one is ahead and now another, as far as their
   events allow. Races between threads are found by shadow.h.

   In a dry run all that is handed over is checked and counted, and nothing is done; what is
   downloaded is zero. So models of full size, on a device with as much memory as a GPU, take
   seconds and no memory. */
#ifndef HARNESS_H
#define HARNESS_H

#include "random.h"

extern "C" {
#include "fail.h"
}

#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <climits>
#include <functional>
#include <initializer_list>
#include <link.h>
#include <map>
#include <numeric>
#include <string>
#include <sys/mman.h>
#include <tuple>
#include <type_traits>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

/* The address sanitizer, if it watches, is told of each change of stacks. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#else
inline void __sanitizer_start_switch_fiber(void **, const void *, size_t) {}
inline void __sanitizer_finish_switch_fiber(void *, const void **, size_t *) {}
#endif

/* ---- What a kernel sees ---- */

struct uint3 {
    unsigned x, y, z;
};

struct dim3 : uint3 {
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : uint3{x, y, z} {}
};

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

/* Shared memory: the program has no other variables of threads, so what a block shares
   is the one thread's own storage, from end to end, whatever templates define in it. */
#define __shared__ static thread_local

#define LAUNCH(kernel, blocks, threads, ...) \
    harness::launch(stream, #kernel, blocks, threads, kernel, __VA_ARGS__)

namespace harness {

/* ---- Faults. fail may jump back into a test, so all that is under way is dropped. ---- */

inline const char *kernel = "no kernel";

/* What a stream has still to do; how much it was given, has done. */
struct stream {
    std::deque<std::function<void()>> queue;
    uint64_t queued = 0, done = 0;
};

inline std::vector<stream *> streams = {new stream}; /* the first is CUDA's own */
inline bool refused; /* a call was, and nobody took the error: the next launch reports it */
inline bool dry;     /* nothing is done, */
inline std::map<std::string, uint64_t> launches; /* but counted, by kernel */
inline bool running; /* a kernel is */

[[noreturn, gnu::format(printf, 1, 2)]] inline void fault(const char *format, ...)
{
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (stream *s : streams) {
        s->queue.clear();
        s->done = s->queued;
    }
    refused = running = false;
    fail("cuda harness", "%s, block (%u, %u, %u): %s", kernel, blockIdx.x, blockIdx.y,
         blockIdx.z, message);
}

/* ---- The device's memory: arrays between zones of NaN, closed to the host ---- */

static const size_t ZONE = 256;
inline size_t memory_bytes = (size_t)1 << 30;
inline char *memory;
inline std::map<char *, size_t> arrays; /* each begin and its bytes */

inline void stray(int signal, siginfo_t *info, void *)
{
    char *at = (char *)info->si_addr;
    if (at >= memory && at < memory + memory_bytes)
        fail("cuda harness", "the host follows an address of the device");
    std::signal(signal, SIG_DFL);
}

/* protect: opens or closes the memory. cmocka takes the signal for itself at the start of
   each test, so it is claimed each time. */
inline void protect(int protection)
{
    struct sigaction action = {};
    action.sa_sigaction = stray;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
    mprotect(memory, memory_bytes, protection);
}

inline void open_memory()
{
    memory = (char *)mmap(NULL, memory_bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("cuda harness", "no room for the device's memory");
    madvise(memory, memory_bytes, MADV_HUGEPAGE);
}

/* end_of: behind an array's last zone. */
inline char *end_of(char *array, size_t bytes)
{
    return array + (bytes + ZONE - 1) / ZONE * ZONE + ZONE;
}

/* take: a new array, full of NaN unless the run is dry; NULL where there is no room. */
inline char *take(size_t bytes)
{
    if (!memory)
        open_memory();
    char *at = memory + ZONE;
    for (auto [array, length] : arrays) {
        if (bytes < memory_bytes && end_of(at, bytes) <= array)
            break;
        at = end_of(array, length);
    }
    if (bytes >= memory_bytes || end_of(at, bytes) > memory + memory_bytes)
        return NULL;
    arrays[at] = bytes;
    if (dry)
        return at;
    protect(PROT_READ | PROT_WRITE);
    memset(at - ZONE, 0xff, (size_t)(end_of(at, bytes) - at) + ZONE);
    protect(PROT_NONE);
    return at;
}

/* room: how many bytes from p on belong to an array of the device; -1: none does. */
inline ptrdiff_t room(const void *p)
{
    auto next = arrays.upper_bound((char *)p);
    if (next == arrays.begin())
        return -1;
    auto [array, bytes] = *--next;
    ptrdiff_t left = array + bytes - (const char *)p;
    return left >= 0 ? left : -1;
}

inline bool untouched(const char *from, const char *to)
{
    while (from < to && *from == (char)0xff)
        from++;
    return from == to;
}

inline void check_zones()
{
    for (auto [array, bytes] : arrays)
        if (!untouched(array - ZONE, array) || !untouched(array + bytes, end_of(array, bytes))) {
            memset(array - ZONE, 0xff, ZONE);
            memset(array + bytes, 0xff, (size_t)(end_of(array, bytes) - array) - bytes);
            fault("something was written beside an array of %zu bytes", bytes);
        }
}

inline stream *which(stream *s)
{
    return s ? s : streams[0];
}

/* work_until: lets a stream work until it has done so much; where it waits for another, that one works. */
inline void work_until(stream *s, uint64_t count)
{
    while (s->done < count) {
        std::function<void()> next = std::move(s->queue.front());
        s->queue.pop_front();
        s->done++;
        next();
        check_zones();
    }
}

/* work_beside: lets all streams but one work, each so far at most. */
inline void work_beside(stream *s, uint64_t most)
{
    for (stream *other : streams)
        if (other != s)
            work_until(other, std::min(other->queued, other->done + most));
}

/* wait_for: lets a stream work for the host. The others work before it, between its operations, or not at all. */
inline void wait_for(stream *s, uint64_t count)
{
    static uint32_t turns;
    if (s->done >= count)
        return;
    protect(PROT_READ | PROT_WRITE);
    turns = turns * 1664525 + 1013904223;
    if (turns >> 30 == 0)
        work_beside(s, UINT32_MAX);
    for (bool between = turns >> 31; between && s->done < count; work_beside(s, 1))
        work_until(s, s->done + 1);
    work_until(s, count);
    protect(PROT_NONE);
}

inline void wait_for_all()
{
    for (stream *s : streams)
        wait_for(s, s->queued);
}

inline void enqueue(stream *s, std::function<void()> work)
{
    if (dry)
        return;
    which(s)->queue.push_back(std::move(work));
    which(s)->queued++;
}

/* ---- Fibers ---- */

enum { WARP = 32, MAX_THREADS = 1024, STACK_BYTES = 1 << 17 };
enum state { ENDED, READY, AT_BARRIER, IN_WARP };

/* meeting: what the lanes of a warp do when all have come. lanes: what each brings;
   NULL for those outside the mask. */
typedef void meeting(void *const lanes[WARP]);

struct fiber {
    enum state state;
    uint3 index;
    const char *file; /* where it waits */
    int line;
    unsigned mask;    /* IN_WARP: with whom, */
    meeting *meet;    /* what for, */
    void *own;        /* and what it brings; */
    bool orders;      /* and whether what all have done before comes first for all */
    bool begun;
    jmp_buf at;
};

inline fiber fibers[MAX_THREADS], *current;
inline ucontext_t starts[MAX_THREADS];
inline unsigned threads; /* of the block */

} // namespace harness

#include "shadow.h"

namespace harness {

inline jmp_buf scheduler;
inline const void *scheduler_stack;
inline size_t scheduler_bytes;
inline const std::function<void()> *body;

/* An order of 0 to n - 1: in steps that have no divisor in common with n. */
struct order {
    uint64_t n, at, step;

    explicit order(uint64_t n) : n(n)
    {
        static uint64_t draws;
        at = random_below(1, draws++, n);
        do
            step = 1 + random_below(2, draws++, n);
        while (std::gcd(step, n) != 1);
    }
    unsigned next()
    {
        at += step;
        at -= at >= n ? n : 0;
        return (unsigned)at;
    }
};

/* A pass through the lanes of a warp. Each, when it has to wait, hands over to the next. */
inline struct {
    unsigned first, left;
    struct order order{WARP};
} pass;

[[noreturn]] inline void hand_over()
{
    while (pass.left-- > 0) {
        unsigned thread = pass.first + pass.order.next();
        if (thread >= threads || fibers[thread].state != READY)
            continue;
        const ucontext_t *start = &starts[thread];
        current = &fibers[thread];
        threadIdx = current->index;
        __sanitizer_start_switch_fiber(NULL, start->uc_stack.ss_sp, start->uc_stack.ss_size);
        if (current->begun)
            _longjmp(current->at, 1);
        current->begun = true;
        setcontext(start);
    }
    __sanitizer_start_switch_fiber(NULL, scheduler_stack, scheduler_bytes);
    _longjmp(scheduler, 1);
}

[[gnu::noinline]] inline void leave()
{
    if (_setjmp(current->at) == 0)
        hand_over();
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
}

inline void live()
{
    bool known = scheduler_stack; /* the first of all comes from there */
    __sanitizer_finish_switch_fiber(NULL, known ? NULL : &scheduler_stack,
                                    known ? NULL : &scheduler_bytes);
    for (;;) {
        (*body)();
        current->state = ENDED;
        leave();
    }
}

[[gnu::noinline]] inline void run_pass(unsigned first)
{
    pass.first = first;
    pass.left = WARP;
    if (_setjmp(scheduler) == 0)
        hand_over();
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
}

/* give_stack: a fresh start on a stack of the fiber's own, below which nothing may be
   written. Stacks begin at different places of a page, or all would want the same few
   lines of the cache. */
inline void give_stack(fiber *f)
{
    ucontext_t *start = &starts[f - fibers];
    if (!start->uc_stack.ss_sp) {
        char *stack = (char *)mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED)
            fail("cuda harness", "no room for the stacks of a block");
        mprotect(stack, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
        getcontext(start);
        start->uc_stack.ss_sp = stack;
        start->uc_stack.ss_size = STACK_BYTES - (f - fibers) * 320 % 4096;
    }
    makecontext(start, live, 0);
    f->begun = false;
}

/* wait: until the scheduler lets the running thread go on. */
inline void wait(enum state state, const char *file, int line)
{
    current->file = file;
    current->line = line;
    current->state = state;
    leave();
}

/* meet: waits for all lanes of the mask; then the last to come acts for all. */
inline void meet(unsigned mask, meeting *act, void *own, const char *file, int line, bool orders = false)
{
    current->mask = mask;
    current->meet = act;
    current->own = own;
    current->orders = orders;
    wait(IN_WARP, file, line);
}

/* ---- Blocks ---- */

/* fill_shared: with NaN, the storage of this program's thread. */
inline int fill_shared(struct dl_phdr_info *program, size_t, void *)
{
    for (int i = 0; i < program->dlpi_phnum; i++)
        if (program->dlpi_phdr[i].p_type == PT_TLS) {
            memset(program->dlpi_tls_data, 0xff, program->dlpi_phdr[i].p_memsz);
            shadow::find_shared(program->dlpi_tls_data, program->dlpi_phdr[i].p_memsz, program->dlpi_addr);
        }
    return 1; /* the program comes first; its libraries are none of our business */
}

/* meet_warp: brings together the lanes of a warp that all have come; whether any had. */
inline bool meet_warp(unsigned first)
{
    bool any = false;
    for (unsigned lane = first; lane < first + WARP && lane < threads; lane++) {
        const fiber *f = &fibers[lane];
        void *lanes[WARP] = {};
        bool all = true;
        if (f->state != IN_WARP)
            continue;
        if (!(f->mask >> (lane - first) & 1))
            fault("thread %u is not in its own mask %08x at %s:%d", lane, f->mask, f->file,
                  f->line);
        for (unsigned i = 0; i < WARP; i++) {
            const fiber *g = &fibers[first + i];
            if (!(f->mask >> i & 1))
                continue;
            if (first + i >= threads || g->state == ENDED)
                fault("thread %u waits at %s:%d for lane %u, which has ended", lane, f->file,
                      f->line, i);
            all = all && g->state == IN_WARP && g->mask == f->mask && g->meet == f->meet
                  && g->line == f->line;
            lanes[i] = g->own;
        }
        if (!all)
            continue;
        f->meet(lanes);
        if (f->orders)
            shadow::order_lanes(first, f->mask);
        any = true;
        for (unsigned i = 0; i < WARP; i++)
            if (lanes[i])
                fibers[first + i].state = READY;
    }
    return any;
}

/* run_warp: until all of its lanes have ended or wait for something else. */
inline void run_warp(unsigned first)
{
    pass.order = order(WARP);
    do
        run_pass(first);
    while (meet_warp(first));
}

/* meet_block: opens the barrier if all threads are at the same one; else tells of the
   first thread that is elsewhere. */
inline void meet_block()
{
    static const char *const doing[] = {"has ended, after", "was ready, after",
                                        "is at the barrier", "waits for its warp"};
    const fiber *f = fibers;
    while (f->state != AT_BARRIER && f < fibers + threads - 1)
        f++;
    for (unsigned i = 0; i < threads; i++) {
        const fiber *g = &fibers[i];
        if (f->state != AT_BARRIER || g->state != AT_BARRIER || g->line != f->line
            || g->file != f->file)
            fault("thread %d %s %s:%d, but thread %u %s %s:%d", (int)(f - fibers),
                  doing[f->state], f->file, f->line, i, doing[g->state],
                  g->file ? g->file : "its beginning", g->line);
    }
    for (unsigned i = 0; i < threads; i++)
        fibers[i].state = READY;
    shadow::pass_barrier();
}

inline void run_block()
{
    unsigned warps = (threads + WARP - 1) / WARP;
    order order(warps);
    dl_iterate_phdr(fill_shared, NULL);
    shadow::begin_block();
    for (unsigned i = 0; i < threads; i++) {
        fiber *f = &fibers[i];
        if (f->state != ENDED || !f->begun) /* left where a fault was, or new */
            give_stack(f);
        f->state = READY;
        f->file = NULL;
        f->line = 0;
        f->index = {i % blockDim.x, i / blockDim.x % blockDim.y,
                    i / blockDim.x / blockDim.y};
    }
    for (;;) {
        for (unsigned w = 0; w < warps; w++)
            run_warp(order.next() * WARP);
        unsigned ended = 0;
        while (ended < threads && fibers[ended].state == ENDED)
            ended++;
        if (ended == threads)
            return;
        meet_block();
    }
}

inline void run_grid(const char *name, dim3 blocks, dim3 block_threads,
                     const std::function<void()> &thread)
{
    kernel = name;
    gridDim = blocks;
    blockDim = block_threads;
    threads = blockDim.x * blockDim.y * blockDim.z;
    body = &thread;
    shadow::begin_launch();
    running = true;
    uint64_t count = (uint64_t)blocks.x * blocks.y * blocks.z;
    order order(count);
    for (uint64_t i = 0; i < count; i++) {
        unsigned b = order.next();
        blockIdx = {b % blocks.x, b / blocks.x % blocks.y, b / blocks.x / blocks.y};
        run_block();
    }
    running = false;
}

/* ---- Launches ---- */

/* check_parameter: an address must be the device's. In a structure every word that is
   an address of this program counts as one. */
template <class P> void check_parameter(const P &parameter)
{
    if constexpr (std::is_pointer_v<P>) {
        if (parameter && room(parameter) < 0)
            fault("%p is not an address of the device", (const void *)parameter);
    } else if constexpr (std::is_class_v<P>) {
        uintptr_t words[sizeof(P) / sizeof(uintptr_t)], page = (uintptr_t)sysconf(_SC_PAGESIZE);
        P members = parameter;
        __builtin_clear_padding(&members);
        memcpy(words, &members, sizeof words);
        for (uintptr_t word : words) /* the smaller ones are numbers, or a sanitizer's */
            if (word >> 45 && room((void *)word) < 0
                && msync((void *)(word & -page), 1, MS_ASYNC) == 0)
                fault("%p in a structure is not an address of the device", (void *)word);
    }
}

/* check_numbers: kernels number rows, columns, elements and threads as ints. None that a kernel
   is given may be negative, as what has overflown is; the largest two, a matrix's sides, and
   the threads of a grid must not multiply to more than an int counts. */
inline void check_numbers(std::initializer_list<int> numbers, dim3 blocks, dim3 block_threads)
{
    int64_t first = 0, second = 0, x = (int64_t)blocks.x * block_threads.x, y = (int64_t)blocks.y * block_threads.y;
    for (int number : numbers) {
        if (number < 0)
            fault("it is given the number %d", number);
        second = number > first ? first : number > second ? number : second;
        first = number > first ? number : first;
    }
    if (first * second > INT_MAX)
        fault("a matrix of %jd by %jd, more than an int counts", (intmax_t)first, (intmax_t)second);
    if (x > INT_MAX || y > INT_MAX)
        fault("%jd by %jd threads, more than an int counts", (intmax_t)x, (intmax_t)y);
}

template <class P> int number_in(const P &parameter)
{
    if constexpr (std::is_same_v<P, int>)
        return parameter;
    return 0;
}

/* launch: puts a kernel into a stream, with its arguments as they are now. */
template <class... P, class... A>
void launch(stream *s, const char *name, dim3 blocks, dim3 block_threads, void (*function)(P...),
            A... arguments)
{
    uint64_t size = (uint64_t)block_threads.x * block_threads.y * block_threads.z;
    std::tuple<P...> parameters(arguments...);
    kernel = name;
    blockIdx = {0, 0, 0};
    if (refused)
        fault("its launch reports the error of an earlier call");
    if (size < 1 || size > MAX_THREADS || block_threads.z > 64)
        fault("a block of %u by %u by %u threads", block_threads.x, block_threads.y,
              block_threads.z);
    if (blocks.x < 1 || blocks.x > 0x7fffffff || blocks.y < 1 || blocks.y > 65535
        || blocks.z < 1 || blocks.z > 65535)
        fault("a grid of %u by %u by %u blocks", blocks.x, blocks.y, blocks.z);
    std::apply([](const P &...p) { (check_parameter(p), ...); }, parameters);
    if (dry) {
        std::apply([=](const P &...p) { check_numbers({number_in(p)...}, blocks, block_threads); }, parameters);
        launches[name]++;
    }
    enqueue(s, [=] {
        run_grid(name, blocks, block_threads, [&] { std::apply(function, parameters); });
    });
}

/* ---- Exchanges within a warp ---- */

template <class T> struct exchange {
    T value, result;
    unsigned source; /* whose value becomes the result */

    static void meet(void *const lanes[WARP])
    {
        for (int i = 0; i < WARP; i++) {
            exchange *e = (exchange *)lanes[i];
            if (e && !lanes[e->source])
                fault("lane %d takes a value of lane %u, which its mask does not name", i,
                      e->source);
            if (e)
                e->result = ((exchange *)lanes[e->source])->value;
        }
    }
};

inline unsigned lane()
{
    return (unsigned)(current - fibers) % WARP;
}

} // namespace harness

/* For tests in C. harness_dry: from now on nothing is done, on a device with so many bytes, if it has not been opened.
   harness_launches: how often, since then, kernels were launched whose name has this part. */
extern "C" [[gnu::used]] inline void harness_dry(size_t bytes)
{
    harness::dry = true;
    harness::memory_bytes = harness::memory ? harness::memory_bytes : bytes;
    harness::launches.clear();
}

extern "C" [[gnu::used]] inline uint64_t harness_launches(const char *part)
{
    uint64_t sum = 0;
    for (const auto &[name, count] : harness::launches)
        sum += name.find(part) != std::string::npos ? count : 0;
    return sum;
}

#define HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(HERE)
{
    harness::wait(harness::AT_BARRIER, file, line);
}

inline void __syncwarp(unsigned mask = 0xffffffff, HERE)
{
    char nothing;
    harness::meet(mask, [](void *const *) {}, &nothing, file, line, true);
}

/* Blocks run one after the other, so what one has written all others see. */
inline void __threadfence()
{
    harness::shadow::fence();
}

UNWATCHED inline unsigned atomicInc(unsigned *p, unsigned most)
{
    if ((uintptr_t)p % sizeof *p != 0 || harness::room(p) < (ptrdiff_t)sizeof *p)
        harness::fault("an atomic operation at %p, where no number of the device is", (void *)p);
    harness::shadow::touch_atomic(p);
    unsigned before = *p;
    *p = before >= most ? 0 : before + 1;
    return before;
}

template <class T> T __shfl_sync(unsigned mask, T value, int source, HERE)
{
    harness::exchange<T> e = {value, value, (unsigned)source % harness::WARP};
    harness::meet(mask, harness::exchange<T>::meet, &e, file, line, true);
    return e.result;
}

template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, HERE)
{
    return __shfl_sync(mask, value, (int)harness::lane() ^ bits, file, line);
}

template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, HERE)
{
    unsigned source = harness::lane() + delta;
    return __shfl_sync(mask, value, (int)(source < harness::WARP ? source : harness::lane()),
                       file, line);
}

#endif
