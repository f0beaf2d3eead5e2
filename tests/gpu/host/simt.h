// CUDA C++ on a processor without a GPU: enough of it to run the kernels of npresnet/kernels/gpu in a test.
//
// Blocks run one after the other.  The threads of a block that meets barriers are fibers: each runs to the next
// __syncthreads(), in a shuffled order, so that a result that hangs on the order shows.  A barrier that only some of the
// threads reach is an error, as are grids and blocks that no GPU takes.
#pragma once
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

struct Dim3 { unsigned x = 1, y = 1, z = 1; };
static Dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace simt {
constexpr size_t STACK = 64 * 1024;
struct Fiber { ucontext_t context; Dim3 index; bool done, waits; };
static std::vector<Fiber> fibers;
static std::vector<char> stacks;
static ucontext_t scheduler;
static Fiber *running;
static void (*body)(void **);
static void **arguments;

static void enter() { body(arguments); running->done = true; swapcontext(&running->context, &scheduler); }

static void resume(Fiber &fiber)
{
    running = &fiber, threadIdx = fiber.index, fiber.waits = false;
    swapcontext(&scheduler, &fiber.context);
}

// Every thread to the next barrier, until all are done; false where only some of them met it.
static bool block_with_barriers()
{
    unsigned count = fibers.size(), seed = blockIdx.x * 7 + blockIdx.y * 13 + 1;
    for (unsigned k = 0; k < count; k++) {
        Fiber &fiber = fibers[k];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stacks.data() + k * STACK;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        fiber.index = {k % blockDim.x, k / blockDim.x, 0};
        fiber.done = fiber.waits = false;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned done = 0; done < count;) {
        unsigned start = (seed = seed * 1664525u + 1013904223u) % count, waiting = 0;
        bool backwards = seed >> 31;
        done = 0;
        for (unsigned k = 0; k < count; k++) resume(fibers[(start + (backwards ? count - k : k)) % count]);   // none is done
        for (Fiber &fiber : fibers) done += fiber.done, waiting += fiber.waits;
        if (done > 0 && waiting > 0) return false;
    }
    return true;
}

static void block_without_barriers()
{
    for (threadIdx.y = 0; threadIdx.y < blockDim.y; threadIdx.y++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) body(arguments);
}

static int launch(void (*kernel)(void **), void **args, const unsigned *grid, const unsigned *block, bool barriers)
{
    unsigned count = block[0] * block[1];
    if (!count || count > 1024 || !grid[0] || !grid[1] || grid[1] > 65535 || grid[0] > 0x7fffffffu) return 1;
    body = kernel, arguments = args, gridDim = {grid[0], grid[1], 1}, blockDim = {block[0], block[1], 1};
    fibers.resize(barriers ? count : 0), stacks.resize(barriers ? count * STACK : 0);
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
            if (!barriers) block_without_barriers();
            else if (!block_with_barriers()) return 2;
        }
    return 0;
}

template <class... A, size_t... I> void call(void (*f)(A...), void **args, std::index_sequence<I...>)
{
    f(*(std::remove_const_t<A> *)args[I]...);
}
template <class... A> void call(void (*f)(A...), void **args) { call(f, args, std::index_sequence_for<A...>()); }
template <class... A> void sizes(void (*)(A...), int *out) { ((*out++ = sizeof(A)), ..., (*out = 0)); }
}  // namespace simt

static void __syncthreads()
{
    simt::running->waits = true;
    swapcontext(&simt::running->context, &simt::scheduler);
}

// Callable from outside: the launch of a kernel, and the sizes of its parameters.
#define EXPORT(name, barriers)                                                                                        \
    extern "C" int launch_##name(const unsigned *grid, const unsigned *block, void **args)                            \
    {                                                                                                                 \
        return simt::launch([](void **a) { simt::call(name, a); }, args, grid, block, barriers);                      \
    }                                                                                                                 \
    extern "C" void sizes_##name(int *out) { simt::sizes(name, out); }
