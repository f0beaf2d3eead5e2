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
template <class T, class Join> __device__ inline void reduce_block(T (&mine)[WIDTH], Join joined)
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
    reduce_block(mine, JoinMoments());
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
    reduce_block(mine, JoinMoments());
    if (threadIdx.y > 0 || pack >= packs) return;
    for (int k = 0; k < WIDTH; k++) {
        int c = pack * WIDTH + k;
        mean[c] = mine[k].mean;
        var[c] = mine[k].m2 / mine[k].n;
        inv_std[c] = 1 / sqrt(var[c] + eps);
    }
}

// z = γ · x̂ + β,   x̂ = (x − μ)/√(σ² + ε),   scale = γ/√(σ² + ε)
__device__ inline wide affine_of(wide x, wide mu, wide scale, wide beta) { return scale * (x - mu) + beta; }

// y = z,   or with `added` z + s,   and with `relu` max(that, 0)
extern "C" __global__ void normalize(const Pack *__restrict__ x, const wide *__restrict__ mean,
                                     const wide *__restrict__ inv_std, const wide *__restrict__ gamma,
                                     const wide *__restrict__ beta, const Pack *__restrict__ s, Pack *__restrict__ y,
                                     int rows, int packs, int added, int relu)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    Wides mu = channels_of(mean, pack), scale = channels_of(gamma, pack), shift = channels_of(beta, pack);
    for (int k = 0; k < WIDTH; k++) scale.v[k] *= inv_std[pack * WIDTH + k];
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        long long at = (long long)row * packs + pack;
        Wides value = widen(x[at]), other = filled(0);
        if (added) other = widen(s[at]);
        for (int k = 0; k < WIDTH; k++) {
            wide z = affine_of(value.v[k], mu.v[k], scale.v[k], shift.v[k]) + other.v[k];
            value.v[k] = relu ? at_least(z, 0) : z;
        }
        y[at] = narrow(value);
    }
}

struct GradientSums { wide beta, gamma; };                       // Σ dy,  Σ dy·x̂

struct AddGradientSums {
    __device__ void operator()(GradientSums &a, GradientSums b) const { a.beta += b.beta, a.gamma += b.gamma; }
};

#define NOTHING 0    // y = z
#define RELU 1       // y = max(z, 0): where z > 0 is found again from x
#define ADD_RELU 2   // y = max(z + s, 0): y is kept, and dy · [y > 0] = ds is written

// Both sums of each channel over this block's rows: parts[blockIdx.y, c], of dy · [y > 0] where a ReLU follows.
extern "C" __global__ void gradient_sums(const Pack *__restrict__ dy, const Pack *__restrict__ x,
                                         const Pack *__restrict__ y, const wide *__restrict__ mean,
                                         const wide *__restrict__ inv_std, const wide *__restrict__ gamma,
                                         const wide *__restrict__ beta, Pack *__restrict__ ds,
                                         GradientSums *__restrict__ parts, int rows, int packs, int epilogue)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    GradientSums mine[WIDTH];
    for (int k = 0; k < WIDTH; k++) mine[k] = {0, 0};
    if (pack < packs) {
        Wides mu = channels_of(mean, pack), scale = channels_of(gamma, pack), shift = channels_of(beta, pack);
        for (int k = 0; k < WIDTH; k++) scale.v[k] *= inv_std[pack * WIDTH + k];
        for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            long long at = (long long)row * packs + pack;
            Wides value = widen(x[at]), dz = widen(dy[at]), result = filled(1);
            if (epilogue == ADD_RELU) result = widen(y[at]);
            for (int k = 0; k < WIDTH; k++) {
                if (epilogue == RELU) result.v[k] = affine_of(value.v[k], mu.v[k], scale.v[k], shift.v[k]);
                dz.v[k] = result.v[k] > 0 ? dz.v[k] : 0;
                mine[k].beta += dz.v[k];
                mine[k].gamma += dz.v[k] * (value.v[k] - mu.v[k]);
            }
            if (epilogue == ADD_RELU) ds[at] = narrow(dz);
        }
        for (int k = 0; k < WIDTH; k++) mine[k].gamma *= inv_std[pack * WIDTH + k];
    }
    reduce_block(mine, AddGradientSums());
    if (threadIdx.y == 0 && pack < packs)
        for (int k = 0; k < WIDTH; k++) parts[((long long)blockIdx.y * packs + pack) * WIDTH + k] = mine[k];
}

// Adds the parts: dβ = Σ dy,  dγ = Σ dy·x̂.
extern "C" __global__ void join_gradient_sums(const GradientSums *__restrict__ parts, wide *__restrict__ dbeta,
                                              wide *__restrict__ dgamma, int count, int packs)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    GradientSums mine[WIDTH];
    for (int k = 0; k < WIDTH; k++) mine[k] = {0, 0};
    if (pack < packs)
        for (int part = threadIdx.y; part < count; part += blockDim.y)
            for (int k = 0; k < WIDTH; k++)
                AddGradientSums()(mine[k], parts[((long long)part * packs + pack) * WIDTH + k]);
    reduce_block(mine, AddGradientSums());
    if (threadIdx.y > 0 || pack >= packs) return;
    for (int k = 0; k < WIDTH; k++) {
        dbeta[pack * WIDTH + k] = mine[k].beta;
        dgamma[pack * WIDTH + k] = mine[k].gamma;
    }
}

// dx = scale · (dz − dβ/m − x̂ · dγ/m) = scale · dz + tilt · (x − μ) − level,   scale = γ/√(σ² + ε),
// with dz = dy, or with `relu`, where a ReLU follows, dy · [z > 0]
extern "C" __global__ void normalize_back(const Pack *__restrict__ dy, const Pack *__restrict__ x,
                                          const wide *__restrict__ mean, const wide *__restrict__ inv_std,
                                          const wide *__restrict__ gamma, const wide *__restrict__ beta,
                                          const wide *__restrict__ dbeta, const wide *__restrict__ dgamma,
                                          Pack *__restrict__ dx, int rows, int packs, int relu)
{
    int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    Wides mu = channels_of(mean, pack), scale = channels_of(gamma, pack), shift = channels_of(beta, pack);
    Wides level = channels_of(dbeta, pack), tilt = channels_of(dgamma, pack);
    for (int k = 0; k < WIDTH; k++) {
        wide inv = inv_std[pack * WIDTH + k];
        scale.v[k] *= inv;
        level.v[k] *= scale.v[k] / rows;                         // scale · dβ/m
        tilt.v[k] *= -scale.v[k] * inv / rows;                   // −scale · dγ/m / √(σ² + ε)
    }
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        long long at = (long long)row * packs + pack;
        Wides value = widen(x[at]), gradient = widen(dy[at]);
        for (int k = 0; k < WIDTH; k++) {
            bool passes = !relu || affine_of(value.v[k], mu.v[k], scale.v[k], shift.v[k]) > 0;
            wide dz = passes ? gradient.v[k] : 0;
            gradient.v[k] = scale.v[k] * dz + tilt.v[k] * (value.v[k] - mu.v[k]) - level.v[k];
        }
        dx[at] = narrow(gradient);
    }
}
