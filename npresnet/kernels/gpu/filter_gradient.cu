// The filters' gradient dW = dY' X~ without X~ in memory: a sum over pixels, of which a piece at a time is copied to shared
// memory, from dY and from the pixels of the images that X~ holds, while the pieces before are multiplied.
//
// A block computes TILE_M filters by TILE_N columns (i, j, c) of dW, each of its warps WARP_M by WARP_N of them.  PIXELS
// make a piece, and STAGES pieces have a place in shared memory.  There the chunks of each pixel are permuted, so that what
// the lanes of a warp read together, the same channels of several pixels, lies in different banks.

#define PIXELS 32
#define THREADS (TILE_M / WARP_M * (TILE_N / WARP_N) * 32)
#define ROW_M (TILE_M / WIDTH)                                   // chunks of a pixel: of dY
#define ROW_N (TILE_N / WIDTH)                                   // and of X~

#if defined(TENSOR_CORES) && WIDTH == 4
#define STEP 2                                                   // lanes read words of two chunks, of four pixels
#else
#define STEP 1                                                   // matrices are a chunk of eight pixels
#endif

template <int ROW> __device__ inline int place(int pixel, int chunk)
{
    const int eight = ROW < 8 ? ROW : 8;                         // 8 / eight pixels fill all banks
    return pixel * ROW + (chunk ^ STEP * (pixel * eight / 8) % eight);
}

#if defined(TENSOR_CORES)
struct Sums {                                                    // of a warp; this lane's share of it
    float v[WARP_M / 16][WARP_N / 8][4];

#if WIDTH == 4
    // The word of channel `at` of a pixel.
    template <int ROW> static __device__ unsigned word(const Pack *of, int pixel, int at)
    {
        return ROUNDED(((const unsigned *)of)[place<ROW>(pixel, at / 4) * 4 + at % 4]);
    }

    // Adds the products of a piece: dY's filters from `m`, X~'s columns from `n`.
    __device__ void add(const Pack *dy, const Pack *cols, int m, int n, int lane)
    {
        int g = lane / 4, t = lane % 4;
#pragma unroll 1
        for (int pixel = t; pixel < PIXELS; pixel += 8) {
            unsigned rows[WARP_M / 16][4], columns[WARP_N / 8][2];
            for (int i = 0; i < WARP_M / 16; i++)
                for (int k = 0; k < 4; k++)
                    rows[i][k] = word<ROW_M>(dy, pixel + k / 2 * 4, m + 16 * i + k % 2 * 8 + g);
            for (int j = 0; j < WARP_N / 8; j++)
                for (int k = 0; k < 2; k++) columns[j][k] = word<ROW_N>(cols, pixel + k * 4, n + 8 * j + g);
            for (int i = 0; i < WARP_M / 16; i++)
                for (int j = 0; j < WARP_N / 8; j++) multiply(v[i][j], rows[i], columns[j]);
        }
    }
#else
    __device__ void add(const Pack *dy, const Pack *cols, int m, int n, int lane)
    {
        int eight = lane % 8, second = lane / 8 % 2, upper = lane / 16;
#pragma unroll
        for (int pixel = 0; pixel < PIXELS; pixel += 16) {
            unsigned rows[WARP_M / 16][4], columns[WARP_N / 8][2];
            for (int i = 0; i < WARP_M / 16; i++)
                load_transposed(rows[i], dy + place<ROW_M>(pixel + 8 * upper + eight, m / 8 + 2 * i + second));
            for (int j = 0; j < WARP_N / 8; j += 2) {
                unsigned words[4];
                load_transposed(words, cols + place<ROW_N>(pixel + 8 * second + eight, n / 8 + j + upper));
                for (int k = 0; k < 4; k++) columns[j + k / 2][k % 2] = words[k];
            }
            for (int i = 0; i < WARP_M / 16; i++)
                for (int j = 0; j < WARP_N / 8; j++) multiply(v[i][j], rows[i], columns[j]);
        }
    }
#endif

    // f(filter, column, sum) for each sum of this lane, from the warp's first.
    template <class F> __device__ void each(int lane, F f) const
    {
#pragma unroll
        for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j++)
#pragma unroll
                for (int k = 0; k < 4; k++)
                    f(16 * i + k / 2 * 8 + lane / 4, 8 * j + lane % 4 * 2 + k % 2, v[i][j][k]);
    }
};
#else
#define OWN_M (WARP_M / (8 * WIDTH))                             // packs of a lane
#define OWN_N (WARP_N / (4 * WIDTH))
struct Sums {
    Wides v[OWN_M][WIDTH][OWN_N];

    __device__ void add(const Pack *dy, const Pack *cols, int m, int n, int lane)
    {
#pragma unroll 2
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            Wides rows[OWN_M], columns[OWN_N];
            for (int i = 0; i < OWN_M; i++)
                rows[i] = widen(dy[place<ROW_M>(pixel, m / WIDTH + lane / 4 + 8 * i)]);
            for (int j = 0; j < OWN_N; j++)
                columns[j] = widen(cols[place<ROW_N>(pixel, n / WIDTH + lane % 4 + 4 * j)]);
            for (int i = 0; i < OWN_M; i++)
                for (int e = 0; e < WIDTH; e++)
                    for (int j = 0; j < OWN_N; j++)
                        for (int k = 0; k < WIDTH; k++) v[i][e][j].v[k] += rows[i].v[e] * columns[j].v[k];
        }
    }

    template <class F> __device__ void each(int lane, F f) const
    {
#pragma unroll
        for (int i = 0; i < OWN_M; i++)
#pragma unroll
            for (int e = 0; e < WIDTH; e++)
#pragma unroll
                for (int j = 0; j < OWN_N; j++)
#pragma unroll
                    for (int k = 0; k < WIDTH; k++)
                        f((lane / 4 + 8 * i) * WIDTH + e, (lane % 4 + 4 * j) * WIDTH + k, v[i][e][j].v[k]);
    }
};
#endif

struct Tap { int at; short i, j; };                              // a chunk's packs and pixels from where a window begins

// parts[split, g, f, k] = Σ_m dy[m, g, f] X~[m, g, k]  over this split's share of the pixels m
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
filter_gradient(const Pack *__restrict__ dy, const Pack *__restrict__ x, wide *__restrict__ parts, int rows, int groups,
                int filters, int packs, int height, int width, int oh, int ow, int kh, int kw, int sh, int sw, int dh,
                int dw, int top, int left, int splits)
{
    DYNAMIC_SHARED(memory);
    Pack *stages = (Pack *)memory;
    const int stage_packs = PIXELS * (ROW_M + ROW_N), depth = kh * kw * packs, pieces = (rows + PIXELS - 1) / PIXELS;
    int across = (depth + ROW_N - 1) / ROW_N, down = (filters + TILE_M - 1) / TILE_M;
    int block = blockIdx.x, tile = block % (across * down), group = block / (across * down) % groups;
    int split = block / (across * down) / groups, m0 = tile / across * TILE_M, k0 = tile % across * ROW_N;
    int piece = (int)((long long)pieces * split / splits), end = (int)((long long)pieces * (split + 1) / splits);

    // This thread copies every LANES-th chunk of one pixel of a piece.
    const int LANES = THREADS / PIXELS;
    int pixel = threadIdx.x / LANES, first = threadIdx.x % LANES;
    Tap taps[ROW_N / LANES];
    for (int k = 0; k < ROW_N / LANES; k++) {
        int chunk = k0 + first + k * LANES, i = chunk / packs / kw * dh, j = chunk / packs % kw * dw;
        taps[k].at = (i * width + j) * packs * groups + group * packs + chunk % packs;
        taps[k].i = chunk < depth ? i : -32768;                  // a column that is not there lies in no image
        taps[k].j = j;
    }
    auto fetch = [&](int number, int stage) {
        Pack *a = stages + stage * stage_packs, *b = a + PIXELS * ROW_M;
        int m = number * PIXELS + pixel, q = m % ow, p = m / ow % oh, n = m / ow / oh;
        int r = p * sh - top, s = q * sw - left, corner = ((n * height + r) * width + s) * packs * groups;
        bool known = m < rows;
#pragma unroll
        for (int chunk = first; chunk < ROW_M; chunk += LANES) {
            int f = m0 + chunk * WIDTH;
            bool inside = known && f < filters;
            copy_async(a + place<ROW_M>(pixel, chunk), dy + (inside ? ((m * groups + group) * filters + f) / WIDTH : 0),
                       inside);
        }
#pragma unroll
        for (int k = 0; k < ROW_N / LANES; k++) {
            bool inside = known && (unsigned)(r + taps[k].i) < (unsigned)height
                          && (unsigned)(s + taps[k].j) < (unsigned)width;
            copy_async(b + place<ROW_N>(pixel, first + k * LANES), x + (inside ? corner + taps[k].at : 0), inside);
        }
    };

    Sums sums = {};
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int warp_m = warp / (TILE_N / WARP_N) * WARP_M, warp_n = warp % (TILE_N / WARP_N) * WARP_N;
    for (int stage = 0; stage < STAGES - 1; stage++) {
        if (piece + stage < end) fetch(piece + stage, stage);
        commit_copies();
    }
    for (int stage = 0; piece < end; piece++, stage = stage + 1 == STAGES ? 0 : stage + 1) {
        wait_for_copies<STAGES - 2>();                           // as in implicit_gemm.cu
        __syncthreads();
        if (piece + STAGES - 1 < end) fetch(piece + STAGES - 1, stage == 0 ? STAGES - 1 : stage - 1);
        commit_copies();
        const Pack *a = stages + stage * stage_packs;
        sums.add(a, a + PIXELS * ROW_M, warp_m, warp_n, lane);
    }

    long long columns = (long long)depth * WIDTH, at = ((long long)split * groups + group) * filters;
    sums.each(lane, [&](int m, int n, wide sum) {
        int f = m0 + warp_m + m, k = k0 * WIDTH + warp_n + n;
        if (f < filters && k < columns) parts[(at + f) * columns + k] = sum;
    });
}

// dw = Σ_split parts[split]
extern "C" __global__ void join_gradients(const wide *__restrict__ parts, wide *__restrict__ dw, int count, int splits)
{
    int number = thread_number();
    if (number >= count) return;
    wide sum = parts[number];
    for (int split = 1; split < splits; split++) sum += parts[(long long)split * count + number];
    dw[number] = sum;
}
