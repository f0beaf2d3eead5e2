// CUDA C++ on a processor without a GPU: enough of it to run the kernels of npresnet/kernels/gpu in a test.
//
// Blocks run one after the other.  The threads of a block that meets barriers are fibers: warp by warp, each thread runs to
// the next barrier of its warp or of the block, in a shuffled order, so that a result that hangs on the order shows.  A
// barrier that only some of the threads reach is an error, as are grids and blocks that no GPU takes, and writing beyond
// the shared memory that was asked for.
#pragma once
#include <setjmp.h>
#include <ucontext.h>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct Dim3 { unsigned x = 1, y = 1, z = 1; };
static Dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace simt {
constexpr size_t STACK = 64 * 1024, GUARD = 4096;
constexpr unsigned WARP = 32;
enum Wait { NOTHING, FOR_THE_WARP, FOR_THE_BLOCK };
enum Status { FINE, NO_SUCH_LAUNCH, SOME_OF_A_BLOCK, SOME_OF_A_WARP, BEYOND_SHARED_MEMORY, CROWDED_BANKS };
struct Copy { void *to; const void *from; bool inside; unsigned group; };
struct Fiber {
    ucontext_t context;
    jmp_buf here;                      // where it goes on; switching contexts would ask the system each time
    Dim3 index;
    bool begun, done;
    Wait waits;
    std::vector<Copy> copies;
    unsigned group, met;               // of copies, the open one; barriers of the warp
};
static std::vector<Fiber> fibers;
static std::vector<char> stacks;
static std::vector<unsigned char> memory;
static unsigned char *shared;
static jmp_buf scheduler;
static Fiber *running;
static void (*body)(void **);
static void **arguments;
static unsigned seed;
static bool disagreed;                 // lanes of a warp do different things together
static bool crowded;                   // eight rows that are read together came from fewer than all banks

static unsigned drawn() { return seed = seed * 1664525u + 1013904223u; }

[[noreturn]] static void enter() { body(arguments); running->done = true; _longjmp(scheduler, 1); }

static void resume(Fiber &fiber)
{
    running = &fiber, threadIdx = fiber.index, fiber.waits = NOTHING;
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.here, 1);
    fiber.begun = true, setcontext(&fiber.context);
}

static void wait(Wait what)
{
    running->waits = what;
    if (!_setjmp(running->here)) _longjmp(scheduler, 1);
}

// Calls f with 0 … count − 1 from a random start, in a random direction.
template <class F> static void shuffled(unsigned count, F f)
{
    unsigned start = drawn() % count, backwards = drawn() >> 31;
    for (unsigned k = 0; k < count; k++) f((start + (backwards ? count - k : k)) % count);
}

// The threads of a warp to the next barrier of the block, or to their end; false where some miss a barrier of the warp.
static bool one_warp(unsigned first, unsigned count)
{
    for (unsigned waiting = count; waiting == count;) {
        shuffled(count, [=](unsigned k) { resume(fibers[first + k]); });
        waiting = 0;
        for (unsigned k = 0; k < count; k++) waiting += fibers[first + k].waits == FOR_THE_WARP;
        if (disagreed || (waiting > 0 && waiting < count)) return false;
    }
    return true;
}

static Status block_with_barriers()
{
    unsigned count = fibers.size(), warps = (count + WARP - 1) / WARP;
    for (unsigned k = 0; k < count; k++) {
        Fiber &fiber = fibers[k];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stacks.data() + k * STACK;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        fiber.index = {k % blockDim.x, k / blockDim.x, 0};
        fiber.begun = fiber.done = false;
        fiber.copies.clear(), fiber.group = fiber.met = 0;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned done = 0; done < count;) {
        bool whole = true;
        shuffled(warps, [&](unsigned w) { whole &= one_warp(w * WARP, std::min(WARP, count - w * WARP)); });
        if (!whole) return SOME_OF_A_WARP;
        done = 0;
        for (Fiber &fiber : fibers) done += fiber.done;
        if (done > 0 && done < count) return SOME_OF_A_BLOCK;
    }
    return FINE;
}

static void block_without_barriers()
{
    for (threadIdx.y = 0; threadIdx.y < blockDim.y; threadIdx.y++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) body(arguments);
}

static Status launch(void (*kernel)(void **), void **args, const unsigned *grid, const unsigned *block,
                     unsigned shared_bytes, bool barriers)
{
    unsigned count = block[0] * block[1];
    if (!count || count > 1024 || !grid[0] || !grid[1] || grid[1] > 65535 || grid[0] > 0x7fffffffu) return NO_SUCH_LAUNCH;
    body = kernel, arguments = args, gridDim = {grid[0], grid[1], 1}, blockDim = {block[0], block[1], 1};
    fibers.resize(barriers ? count : 0), stacks.resize(barriers ? count * STACK : 0);
    memory.resize(shared_bytes + GUARD + 128);
    shared = memory.data() + (128 - (uintptr_t)memory.data() % 128);
    seed = 1, crowded = disagreed = false;
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
            memset(memory.data(), 0xff, memory.size());          // NaN, whatever it is read as
            Status status = FINE;
            if (!barriers) block_without_barriers();
            else status = block_with_barriers();
            if (status) return status;
            for (unsigned char *p = shared + shared_bytes; p < memory.data() + memory.size(); p++)
                if (*p != 0xff) return BEYOND_SHARED_MEMORY;
            if (crowded) return CROWDED_BANKS;
        }
    return FINE;
}

template <class... A, size_t... I> void call(void (*f)(A...), void **args, std::index_sequence<I...>)
{
    f(*(std::remove_const_t<A> *)args[I]...);
}
template <class... A> void call(void (*f)(A...), void **args) { call(f, args, std::index_sequence_for<A...>()); }
template <class... A> void sizes(void (*)(A...), int *out) { ((*out++ = sizeof(A)), ..., (*out = 0)); }
}  // namespace simt

static void __syncthreads() { simt::wait(simt::FOR_THE_BLOCK); }

// Callable from outside: the launch of a kernel, and the sizes of its parameters.
#define EXPORT(name, barriers)                                                                                        \
    extern "C" int launch_##name(const unsigned *grid, const unsigned *block, unsigned shared, void **args)           \
    {                                                                                                                 \
        return simt::launch([](void **a) { simt::call(name, a); }, args, grid, block, shared, barriers);              \
    }                                                                                                                 \
    extern "C" void sizes_##name(int *out) { simt::sizes(name, out); }
