// What npresnet/kernels/gpu/warp.cuh says in PTX, for the host.
//
// A copy happens at once or when it is waited for, by chance, so that both reading too early and overwriting too early
// show.  What a warp does together begins and ends with a barrier of its lanes.
#pragma once

namespace simt {
struct Lane { const void *row; float a[4][2], b[2][2]; };       // of a word of halves both, of any other word one
static Lane lanes[2][1024];            // by turns, so that a lane may be one operation ahead

// Every lane's contribution, once all of the warp have made theirs.
static const Lane *together(const Lane &mine)
{
    unsigned number = running - fibers.data(), turn = running->met++ % 2;
    lanes[turn][number] = mine;
    wait(FOR_THE_WARP);
    const Lane *warp = lanes[turn] + number / WARP * WARP;
    for (unsigned k = 0; k < WARP; k++) disagreed |= !warp[k].row != !mine.row;      // loading, or multiplying
    if (disagreed) wait(FOR_THE_WARP);
    return warp;
}

static void carry_out(const Copy &copy)
{
    if (copy.inside) memcpy(copy.to, copy.from, 16);
    else memset(copy.to, 0, 16);
}
}  // namespace simt

static void copy_async(void *to, const void *from, bool inside)
{
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16) __builtin_trap();            // as the GPU would
    simt::Copy copy = {to, from, inside, simt::running->group};
    if (simt::drawn() >> 31) simt::carry_out(copy);
    else simt::running->copies.push_back(copy);
}

static void commit_copies() { simt::running->group++; }

template <int N> static void wait_for_copies()
{
    auto &copies = simt::running->copies;
    size_t done = 0;
    for (; done < copies.size() && copies[done].group + N < simt::running->group; done++) simt::carry_out(copies[done]);
    copies.erase(copies.begin(), copies.begin() + done);
}

// The rows of matrices that the lanes of the warp name, which must come from all banks.
static const simt::Lane *rows_of_all(const void *row)
{
    const simt::Lane *warp = simt::together({row, {}, {}});
    unsigned banks = 0, first = threadIdx.x % 32 / 8 * 8;        // each chunk of a row of 128 bytes has four
    for (unsigned r = 0; r < 8; r++) banks |= 1u << (uintptr_t)warp[first + r].row / 16 % 8;
    simt::crowded |= banks != 0xff;
    return warp;
}

static void load_matrices(unsigned (&words)[4], const void *row)
{
    const simt::Lane *warp = rows_of_all(row);
    int lane = threadIdx.x % 32;
    for (int m = 0; m < 4; m++) memcpy(&words[m], (const char *)warp[8 * m + lane / 4].row + lane % 4 * 4, 4);
}

static void load_transposed(unsigned (&words)[4], const void *row)
{
    const simt::Lane *warp = rows_of_all(row);
    int lane = threadIdx.x % 32;
    for (int m = 0; m < 4; m++)
        for (int half = 0; half < 2; half++)
            memcpy((char *)&words[m] + 2 * half, (const char *)warp[8 * m + lane % 4 * 2 + half].row + lane / 4 * 2, 2);
}

#if defined(REAL_FLOAT16) || defined(REAL_BFLOAT16)
#define ROUNDED(word) (word)
static void numbers_of(unsigned word, float (&numbers)[2])
{
    real halves[2];
    memcpy(halves, &word, 4);
    for (int k = 0; k < 2; k++) numbers[k] = widen(halves[k]);
}
#else
static unsigned ROUNDED(unsigned word) { return (word & 0x7f800000) == 0x7f800000 ? word : word + 0x1000; }
static void numbers_of(unsigned word, float (&numbers)[2])
{
    word &= ~0x1fffu;                                            // the tensor cores do not see the last 13 bits
    memcpy(&numbers[0], &word, 4);
    numbers[1] = 0;
}
#endif

static void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    simt::Lane mine = {};
    for (int word = 0; word < 4; word++) numbers_of(a[word], mine.a[word]);
    for (int word = 0; word < 2; word++) numbers_of(b[word], mine.b[word]);
    const simt::Lane *warp = simt::together(mine);
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int k = 0; k < 4; k++) {
        int row = k / 2, column = 2 * t + k % 2;                 // row g or g + 8
        for (int word = 0; word < 8; word++) {
            const float *x = warp[4 * g + word % 4].a[row + word / 4 * 2], *y = warp[4 * column + word % 4].b[word / 4];
            c[k] += x[0] * y[0] + x[1] * y[1];
        }
    }
}

#define DYNAMIC_SHARED(name) unsigned char *name = simt::shared
