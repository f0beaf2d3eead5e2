// Statistics of channels, in one pass, and what batch norm does with them.
//
// [W]  Welford 1962, Note on a method for calculating corrected sums of squares and products
// [C]  Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances
//
// A block is blockDim.x packs of channels wide and blockDim.y rows high, a power of two; together its blocks of one
// column walk over all rows.

#define BLOCK 256                                                // threads

struct Moments { wide n, mean, m2; };                            // of n values: their mean, and Σ (value − mean)²

// [W]  δ = x − μ;   μ ← μ + δ/n;   M ← M + δ (x − μ), with the new μ
__device__ inline void include(Moments &a, wide x, wide n, wide one_over_n)
{
    wide delta = x - a.mean;
    a.n = n;
    a.mean += delta * one_over_n;
    a.m2 += delta * (x - a.mean);
}

// [C]  δ = μ_b − μ_a;   μ = μ_a + δ n_b/n;   M = M_a + M_b + δ² n_a n_b/n
__device__ inline void join(Moments &a, Moments b)
{
    wide n = a.n + b.n, share = n > 0 ? b.n / n : 0, delta = b.mean - a.mean;
    a.mean += delta * share;
    a.m2 += b.m2 + delta * delta * a.n * share;
    a.n = n;
}

// Over the threads of each column of the block, by halves; the result is the first thread's.
template <class T, class Join> __device__ inline void over_the_block(T (&mine)[WIDTH], Join joined)
{
    __shared__ T others[BLOCK][WIDTH];
    int here = threadIdx.y * blockDim.x + threadIdx.x;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        for (int k = 0; k < WIDTH; k++) others[here][k] = mine[k];
        __syncthreads();
        if (threadIdx.y < half)
            for (int k = 0; k < WIDTH; k++) joined(mine[k], others[here + half * blockDim.x][k]);
        __syncthreads();
    }
}

struct JoinMoments { __device__ void operator()(Moments &a, Moments b) const { join(a, b); } };

// The moments of each channel over this block's rows: parts[blockIdx.y, c].
extern "C" __global__ void moments(const Pack *__restrict__ x, Moments *__restrict__ parts, int rows, int packs)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    Moments mine[WIDTH];
    for (int k = 0; k < WIDTH; k++) mine[k] = {0, 0, 0};
    if (pack < packs) {
        int seen = 0;
        for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            Wides value = widen(x[(long long)row * packs + pack]);
            wide n = ++seen, one_over_n = 1 / n;
            for (int k = 0; k < WIDTH; k++) include(mine[k], value.v[k], n, one_over_n);
        }
    }
    over_the_block(mine, JoinMoments());
    if (threadIdx.y == 0 && pack < packs)
        for (int k = 0; k < WIDTH; k++) parts[((long long)blockIdx.y * packs + pack) * WIDTH + k] = mine[k];
}

// Joins the parts: mean, σ² = M/n, and 1/√(σ² + ε).
extern "C" __global__ void join_moments(const Moments *__restrict__ parts, wide *__restrict__ mean,
                                        wide *__restrict__ var, wide *__restrict__ inv_std, int count, int packs,
                                        wide eps)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    Moments mine[WIDTH];
    for (int k = 0; k < WIDTH; k++) mine[k] = {0, 0, 0};
    if (pack < packs)
        for (int part = threadIdx.y; part < count; part += blockDim.y)
            for (int k = 0; k < WIDTH; k++) join(mine[k], parts[((long long)part * packs + pack) * WIDTH + k]);
    over_the_block(mine, JoinMoments());
    if (threadIdx.y > 0 || pack >= packs) return;
    for (int k = 0; k < WIDTH; k++) {
        int c = pack * WIDTH + k;
        mean[c] = mine[k].mean;
        var[c] = mine[k].m2 / mine[k].n;
        inv_std[c] = 1 / sqrt(var[c] + eps);
    }
}

// y = γ · x̂ + β,   x̂ = (x − μ)/√(σ² + ε)
extern "C" __global__ void normalize(const Pack *__restrict__ x, const wide *__restrict__ mean,
                                     const wide *__restrict__ inv_std, const wide *__restrict__ gamma,
                                     const wide *__restrict__ beta, Pack *__restrict__ y, int rows, int packs)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    Wides mu = channels_of(mean, pack), scale = channels_of(gamma, pack), shift = channels_of(beta, pack);
    for (int k = 0; k < WIDTH; k++) scale.v[k] *= inv_std[pack * WIDTH + k];
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        Wides value = widen(x[(long long)row * packs + pack]);
        for (int k = 0; k < WIDTH; k++) value.v[k] = scale.v[k] * (value.v[k] - mu.v[k]) + shift.v[k];
        y[(long long)row * packs + pack] = narrow(value);
    }
}

struct Slopes { wide beta, gamma; };                             // Σ dy,  Σ dy·x̂

struct AddSlopes {
    __device__ void operator()(Slopes &a, Slopes b) const { a.beta += b.beta, a.gamma += b.gamma; }
};

// Both sums of each channel over this block's rows: parts[blockIdx.y, c].
extern "C" __global__ void slopes(const Pack *__restrict__ dy, const Pack *__restrict__ x,
                                  const wide *__restrict__ mean, const wide *__restrict__ inv_std,
                                  Slopes *__restrict__ parts, int rows, int packs)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    Slopes mine[WIDTH];
    for (int k = 0; k < WIDTH; k++) mine[k] = {0, 0};
    if (pack < packs) {
        Wides mu = channels_of(mean, pack), inv = channels_of(inv_std, pack);
        for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            Wides value = widen(x[(long long)row * packs + pack]), slope = widen(dy[(long long)row * packs + pack]);
            for (int k = 0; k < WIDTH; k++) {
                mine[k].beta += slope.v[k];
                mine[k].gamma += slope.v[k] * ((value.v[k] - mu.v[k]) * inv.v[k]);
            }
        }
    }
    over_the_block(mine, AddSlopes());
    if (threadIdx.y == 0 && pack < packs)
        for (int k = 0; k < WIDTH; k++) parts[((long long)blockIdx.y * packs + pack) * WIDTH + k] = mine[k];
}

// Adds the parts: dβ = Σ dy,  dγ = Σ dy·x̂.
extern "C" __global__ void join_slopes(const Slopes *__restrict__ parts, wide *__restrict__ dbeta,
                                       wide *__restrict__ dgamma, int count, int packs)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    Slopes mine[WIDTH];
    for (int k = 0; k < WIDTH; k++) mine[k] = {0, 0};
    if (pack < packs)
        for (int part = threadIdx.y; part < count; part += blockDim.y)
            for (int k = 0; k < WIDTH; k++) AddSlopes()(mine[k], parts[((long long)part * packs + pack) * WIDTH + k]);
    over_the_block(mine, AddSlopes());
    if (threadIdx.y > 0 || pack >= packs) return;
    for (int k = 0; k < WIDTH; k++) {
        dbeta[pack * WIDTH + k] = mine[k].beta;
        dgamma[pack * WIDTH + k] = mine[k].gamma;
    }
}

// dx = γ/√(σ² + ε) · (dy − dβ/m − x̂ · dγ/m)
extern "C" __global__ void normalize_back(const Pack *__restrict__ dy, const Pack *__restrict__ x,
                                          const wide *__restrict__ mean, const wide *__restrict__ inv_std,
                                          const wide *__restrict__ gamma, const wide *__restrict__ dbeta,
                                          const wide *__restrict__ dgamma, Pack *__restrict__ dx, int rows, int packs)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    Wides mu = channels_of(mean, pack), inv = channels_of(inv_std, pack), scale = channels_of(gamma, pack);
    Wides along_one = channels_of(dbeta, pack), along_x = channels_of(dgamma, pack);
    for (int k = 0; k < WIDTH; k++) {
        scale.v[k] *= inv.v[k];
        along_one.v[k] /= rows;
        along_x.v[k] /= rows;
    }
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        Wides value = widen(x[(long long)row * packs + pack]), slope = widen(dy[(long long)row * packs + pack]);
        for (int k = 0; k < WIDTH; k++) {
            wide x_hat = (value.v[k] - mu.v[k]) * inv.v[k];
            slope.v[k] = scale.v[k] * (slope.v[k] - along_one.v[k] - x_hat * along_x.v[k]);
        }
        dx[(long long)row * packs + pack] = narrow(slope);
    }
}
