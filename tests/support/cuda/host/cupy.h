// What CuPy's own kernels and headers use of CUDA C++, beside what ours do.  Of complex numbers they only see the name.
#pragma once
#include "simt.h"
#include <algorithm>
#include <cassert>
#include <cstddef>
#include "cuda_bf16.h"

#define __host__
#define __forceinline__ inline
using std::isfinite, std::isinf, std::isnan, std::max, std::min, std::signbit;
namespace thrust { template <class T> struct complex; }

template <class To, class From> static To same_bits(const From &from)
{
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy((void *)&to, (const void *)&from, sizeof to);
    return to;
}
static float __int_as_float(int bits) { return same_bits<float>(bits); }
static int __float_as_int(float x) { return same_bits<int>(x); }
static double __longlong_as_double(long long bits) { return same_bits<double>(bits); }
static long long __double_as_longlong(double x) { return same_bits<long long>(x); }
static int __popc(unsigned x) { return __builtin_popcount(x); }
static int __popcll(unsigned long long x) { return __builtin_popcountll(x); }

struct half;                           // CuPy's own, a float16 in 16 bits
static unsigned short __float2half_rn(float x) { return same_bits<unsigned short>((_Float16)x); }
static float __half2float(unsigned short bits) { return same_bits<_Float16>(bits); }
static half __ushort_as_half(unsigned short bits);
template <class Half> static unsigned short __half_as_ushort(const Half &x) { return same_bits<unsigned short>(x); }

static bool __hisnan(__nv_bfloat16 x) { return std::isnan((float)x); }
static bool __hisinf(__nv_bfloat16 x) { return std::isinf((float)x); }
static unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
static __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return same_bits<__nv_bfloat16>(bits); }

// Threads take turns between barriers only.
template <class T> static T atomicAdd(T *place, T x) { T old = *place; *place += x; return old; }
template <class T> static T atomicCAS(T *place, T due, T x) { T old = *place; if (old == due) *place = x; return old; }
