// What the threads of a warp do together on Ampere and later, and copies that run beside them.  Sums of products take
// 16 rows by 8 columns; a chunk is 16 bytes of a row or column.   [P] PTX ISA 8.0, sections 9.7.8.22 and 9.7.13.4

#if !defined(__CUDACC__)
#include "warp.h"                                                // tests without a GPU: tests/support/cuda/host
#else

__device__ inline unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// Starts to copy a chunk to shared memory, or zeros there where it is not `inside`.
__device__ inline void copy_async(void *to, const void *from, bool inside)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0) : "memory");
}

// Ends a group of copies, which this thread can wait for.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until of this thread's groups only the last N may still be on their way.
template <int N> __device__ inline void wait_for_copies() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }

// Four matrices of 8 rows of a chunk: lane l gives the address of row l % 8 of matrix l / 8, and gets of each matrix
// word l % 4 of row l / 4.
__device__ inline void load_matrices(unsigned (&words)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(shared_address(row)) : "memory");
}

// The same for matrices of halves, each turned: of 8 rows of 8, column l / 4 and of it the numbers 2 (l % 4) and the next.
__device__ inline void load_transposed(unsigned (&words)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(shared_address(row)) : "memory");
}

#if defined(REAL_FLOAT16) || defined(REAL_BFLOAT16)
#define ROUNDED(word) (word)
#if defined(REAL_FLOAT16)
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#else
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#endif
#else                                                            // TF32: 10 bits of mantissa, rounded to the nearest
#define ROUNDED(word) rounded(word)
#define MMA "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
__device__ inline unsigned rounded(unsigned word)
{
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(__uint_as_float(word)));
    return word;
}
#endif

// c += a b  for two chunks of 16 rows and of 8 columns.  With g = lane / 4 and t = lane % 4 a lane holds of a the words
// t of rows g and g + 8, then words t + 4 of both; of b words t and t + 4 of column g; of c columns 2t and 2t + 1 of row g,
// then of row g + 8.
__device__ inline void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    asm volatile(MMA "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#endif
