// What arrays hold (real), what sums are taken in (wide), and packs of WIDTH neighbours that move in one access.
//
// Images lie channels last: pixel (n, p, q) is a row of channels, and a pack is WIDTH channels of it.  Sizes named
// `packs` count packs of a row; all other sizes count pixels, channels or images.

#ifndef INFINITY                          // NVRTC compiles without the headers of C
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fc00000)
#endif

#if defined(REAL_FLOAT16)
#include <cuda_fp16.h>
typedef __half real;
typedef float wide;
__device__ inline wide widen(real x) { return __half2float(x); }
__device__ inline real narrow(wide x) { return __float2half(x); }
#elif defined(REAL_BFLOAT16)
#include <cuda_bf16.h>
typedef __nv_bfloat16 real;
typedef float wide;
__device__ inline wide widen(real x) { return __bfloat162float(x); }
__device__ inline real narrow(wide x) { return __float2bfloat16(x); }
#elif defined(REAL_FLOAT64)
typedef double real;
typedef double wide;
__device__ inline wide widen(real x) { return x; }
__device__ inline real narrow(wide x) { return x; }
#else
typedef float real;
typedef float wide;
__device__ inline wide widen(real x) { return x; }
__device__ inline real narrow(wide x) { return x; }
#endif

struct alignas(sizeof(real) * WIDTH) Pack { real v[WIDTH]; };
struct alignas(WIDTH) Bytes { unsigned char v[WIDTH]; };
struct Wides { wide v[WIDTH]; };

__device__ inline Wides widen(Pack x)
{
    Wides y;
    for (int k = 0; k < WIDTH; k++) y.v[k] = widen(x.v[k]);
    return y;
}

__device__ inline Pack narrow(Wides x)
{
    Pack y;
    for (int k = 0; k < WIDTH; k++) y.v[k] = narrow(x.v[k]);
    return y;
}

__device__ inline Wides filled(wide value)
{
    Wides y;
    for (int k = 0; k < WIDTH; k++) y.v[k] = value;
    return y;
}

// WIDTH entries of an array of one wide for each channel.
__device__ inline Wides channels_of(const wide *a, int pack)
{
    Wides y;
    for (int k = 0; k < WIDTH; k++) y.v[k] = a[pack * WIDTH + k];
    return y;
}

// The thread's number, where a grid has one thread for each thing to do.
__device__ inline int thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

// y = max(x, floor), where NaN stays, as in numpy.maximum.
__device__ inline wide at_least(wide x, wide floor) { return x < floor ? floor : x; }
