// A convolution as the product Y = X~ W' of columns that never lie in memory (an implicit GEMM): a piece of X~ and W' at a
// time is copied to shared memory from images and filters, while the pieces before are multiplied.
//
// [D]  Chetlur et al. 2014, cuDNN: efficient primitives for deep learning, arXiv:1410.0759, section 3.1
//
// A block computes TILE_M output pixels by TILE_N filters, each of its warps WARP_M by WARP_N of them.  The sum runs over
// chunks (i, j, c): pack c of the pixel under tap (i, j).  CHUNKS of them for every pixel and filter of the block are a
// piece, and STAGES pieces have a place in shared memory.  Chunk k of row m lies at k ^ (m % 8) there, so that the chunks k
// of eight rows, which are read together, lie in different banks.

#define CHUNKS 8
#define THREADS (TILE_M / WARP_M * (TILE_N / WARP_N) * 32)
#define STRIDE (TILE_N + 8)                                      // of sums in shared memory: rows begin in other banks

__device__ inline int place(int row, int chunk) { return row * CHUNKS + (chunk ^ row % CHUNKS); }

#if defined(TENSOR_CORES)
struct Sums {                                                    // of a warp; this lane's share of it
    float v[WARP_M / 16][WARP_N / 8][4];

    // Adds a piece: `a` are the warp's rows of X~, `b` its filters.
    __device__ void add(const Pack *a, const Pack *b, int lane)
    {
#pragma unroll
        for (int k = 0; k < CHUNKS; k += 2) {
            unsigned rows[WARP_M / 16][4], columns[WARP_N / 8][2];
            for (int i = 0; i < WARP_M / 16; i++) {
                load_matrices(rows[i], a + place(16 * i + lane % 16, k + lane / 16));
                for (unsigned &word : rows[i]) word = ROUNDED(word);
            }
            for (int j = 0; j < WARP_N / 8; j += 2) {
                unsigned words[4];
                load_matrices(words, b + place(8 * j + lane % 8 + lane / 16 * 8, k + lane / 8 % 2));
                for (int half = 0; half < 4; half++) columns[j + half / 2][half % 2] = ROUNDED(words[half]);
            }
            for (int i = 0; i < WARP_M / 16; i++)
                for (int j = 0; j < WARP_N / 8; j++) multiply(v[i][j], rows[i], columns[j]);
        }
    }

    __device__ void store(wide *to, int lane) const
    {
        for (int i = 0; i < WARP_M / 16; i++)
            for (int j = 0; j < WARP_N / 8; j++)
                for (int half = 0; half < 2; half++) {
                    wide *pair = to + (16 * i + 8 * half + lane / 4) * STRIDE + 8 * j + lane % 4 * 2;
                    pair[0] = v[i][j][2 * half], pair[1] = v[i][j][2 * half + 1];
                }
    }
};
#else
struct Sums {
    wide v[WARP_M / 8][WARP_N / 4];

    __device__ void add(const Pack *a, const Pack *b, int lane)
    {
#pragma unroll 1
        for (int k = 0; k < CHUNKS; k++) {
            Wides rows[WARP_M / 8];
            for (int i = 0; i < WARP_M / 8; i++) rows[i] = widen(a[place(8 * i + lane / 4, k)]);
            for (int j = 0; j < WARP_N / 4; j++) {
                Wides column = widen(b[place(4 * j + lane % 4, k)]);
                for (int e = 0; e < WIDTH; e++)
                    for (int i = 0; i < WARP_M / 8; i++) v[i][j] += rows[i].v[e] * column.v[e];
            }
        }
    }

    __device__ void store(wide *to, int lane) const
    {
        for (int i = 0; i < WARP_M / 8; i++)
            for (int j = 0; j < WARP_N / 4; j++) to[(8 * i + lane / 4) * STRIDE + 4 * j + lane % 4] = v[i][j];
    }
};
#endif

struct Corner { int at; short r, s; };                           // where a window begins: its first pack, its pixel

// max(sum + bias + residual, floor) of a pack; without `biased` and `added` these are not read.
__device__ inline Pack finished(Wides sum, const wide *bias, const Pack *residual, bool biased, bool added, wide floor)
{
    Wides shift = filled(0), other = filled(0);
    if (biased) shift = channels_of(bias, 0);
    if (added) other = widen(*residual);
    for (int k = 0; k < WIDTH; k++) sum.v[k] = at_least(sum.v[k] + shift.v[k] + other.v[k], floor);
    return narrow(sum);
}

// y[m, g, f] = max(Σ_k X~[m, g, k] w[g, f, k] + bias[g, f] + residual[m, g, f], floor)
// With `splits` > 1 each block adds up its share of the pieces only, and leaves it in parts[split, m, (g, f)].
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
implicit_gemm(const Pack *__restrict__ x, const Pack *__restrict__ w, const wide *__restrict__ bias,
       const Pack *__restrict__ residual, Pack *__restrict__ y, wide *__restrict__ parts, int rows, int groups,
       int filters, int packs, int height, int width, int oh, int ow, int kh, int kw, int sh, int sw, int dh, int dw,
       int top, int left, int splits, int biased, int added, wide floor)
{
    DYNAMIC_SHARED(memory);
    Pack *stages = (Pack *)memory;
    const int stage_packs = (TILE_M + TILE_N) * CHUNKS, depth = kh * kw * packs, pieces = (depth + CHUNKS - 1) / CHUNKS;
    int tiles = (filters + TILE_N - 1) / TILE_N, across = tiles * groups, down = (rows + TILE_M - 1) / TILE_M;
    int block = blockIdx.x, split = block / (across * down), group = block % across / tiles;
    int m0 = block / across % down * TILE_M, f0 = block % tiles * TILE_N;
    int piece = (int)((long long)pieces * split / splits), end = (int)((long long)pieces * (split + 1) / splits);

    // This thread copies one chunk of every LINES-th row: of pixels and of filters.
    const int LINES = THREADS / CHUNKS;
    int chunk = threadIdx.x % CHUNKS, line = threadIdx.x / CHUNKS;
    Corner corner[TILE_M / LINES];
    for (int i = 0; i < TILE_M / LINES; i++) {
        int m = m0 + line + i * LINES, q = m % ow, p = m / ow % oh, n = m / ow / oh;
        int r = p * sh - top, s = q * sw - left;
        corner[i].at = ((n * height + r) * width + s) * packs * groups + group * packs;
        corner[i].r = m < rows ? r : -32768;                     // no tap of a row that is not there lies in the image
        corner[i].s = s;
    }
    int filter = (group * filters + f0 + line) * depth;

    int k = piece * CHUNKS + chunk, c = k % packs, j = k / packs % kw, i_tap = k / packs / kw;
    auto fetch = [&](int stage) {
        Pack *a = stages + stage * stage_packs, *b = a + TILE_M * CHUNKS;
        bool known = i_tap < kh;
        int down_by = i_tap * dh, along = j * dw, from = (down_by * width + along) * packs * groups + c;
#pragma unroll
        for (int i = 0; i < TILE_M / LINES; i++) {
            bool inside = known && (unsigned)(corner[i].r + down_by) < (unsigned)height
                          && (unsigned)(corner[i].s + along) < (unsigned)width;
            copy_async(a + place(line + i * LINES, chunk), x + (inside ? corner[i].at + from : 0), inside);
        }
#pragma unroll
        for (int i = 0; i < TILE_N / LINES; i++) {
            bool inside = known && f0 + line + i * LINES < filters;
            copy_async(b + place(line + i * LINES, chunk), w + (inside ? filter + i * LINES * depth + k : 0), inside);
        }
        for (k += CHUNKS, c += CHUNKS; c >= packs; c -= packs)
            if (++j == kw) j = 0, i_tap++;
    };

    Sums sums = {};
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int warp_m = warp / (TILE_N / WARP_N) * WARP_M, warp_n = warp % (TILE_N / WARP_N) * WARP_N;
    for (int stage = 0; stage < STAGES - 1; stage++) {
        if (piece + stage < end) fetch(stage);
        commit_copies();
    }
    for (int stage = 0; piece < end; piece++, stage = stage + 1 == STAGES ? 0 : stage + 1) {
        wait_for_copies<STAGES - 2>();                           // the oldest of STAGES − 1 is there
        __syncthreads();                                         // for all threads; and nobody still reads the one before
        if (piece + STAGES - 1 < end) fetch(stage == 0 ? STAGES - 1 : stage - 1);
        commit_copies();
        const Pack *a = stages + stage * stage_packs;
        sums.add(a + warp_m * CHUNKS, a + (TILE_M + warp_n) * CHUNKS, lane);
    }

    // Through shared memory, so that neighbouring threads write neighbouring packs.
    wait_for_copies<0>();
    __syncthreads();
    wide *all = (wide *)memory;
    sums.store(all + warp_m * STRIDE + warp_n, lane);
    __syncthreads();
    for (int number = threadIdx.x; number < TILE_M * TILE_N / WIDTH; number += THREADS) {
        int row = number / (TILE_N / WIDTH), column = number % (TILE_N / WIDTH) * WIDTH, m = m0 + row, f = f0 + column;
        if (m >= rows || f >= filters) continue;
        int at = (m * groups + group) * filters + f;
        Wides sum = channels_of(all + row * STRIDE + column, 0);
        if (splits == 1)
            y[at / WIDTH] = finished(sum, bias + group * filters + f, residual + at / WIDTH, biased, added, floor);
        else
            for (int e = 0; e < WIDTH; e++) parts[(long long)split * rows * groups * filters + at + e] = sum.v[e];
    }
}

// y = max(Σ_split parts[split] + bias + residual, floor): one thread for each pack, `packs` of them in a row.
extern "C" __global__ void join_splits(const wide *__restrict__ parts, const wide *__restrict__ bias,
                                       const Pack *__restrict__ residual, Pack *__restrict__ y, int count, int packs,
                                       int splits, int biased, int added, wide floor)
{
    int number = thread_number();
    if (number >= count) return;
    Wides sum = channels_of(parts, number);
    for (int split = 1; split < splits; split++) {
        Wides other = channels_of(parts + (long long)split * count * WIDTH, number);
        for (int e = 0; e < WIDTH; e++) sum.v[e] += other.v[e];
    }
    y[number] = finished(sum, bias + number % packs * WIDTH, residual + number, biased, added, floor);
}
