// Softmax cross-entropy: one block for each row of logits.

#define THREADS 128

// Over the block, by halves; every thread gets the result.
template <class Join> __device__ inline wide reduce_row(wide mine, Join join)
{
    __shared__ wide others[THREADS];
    others[threadIdx.x] = mine;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) others[threadIdx.x] = join(others[threadIdx.x], others[threadIdx.x + half]);
        __syncthreads();
    }
    wide result = others[0];
    __syncthreads();
    return result;
}

struct Larger { __device__ wide operator()(wide a, wide b) const { return a < b || b != b ? b : a; } };   // NaN stays
struct Sum { __device__ wide operator()(wide a, wide b) const { return a + b; } };

// lse = max z + log Σ_k e^(z − max z),    loss = −(1 − ε)(z[label] − lse) − ε · mean_k(z − lse);    lse relative to max z
extern "C" __global__ void cross_entropy(const real *__restrict__ logits, const long long *__restrict__ labels,
                                         wide *__restrict__ top, wide *__restrict__ lse, wide *__restrict__ losses,
                                         int classes, wide smoothing)
{
    const real *z = logits + (long long)blockIdx.x * classes;
    wide largest = -INFINITY, sum = 0, spread = 0;
    for (int k = threadIdx.x; k < classes; k += THREADS) largest = Larger()(largest, widen(z[k]));
    largest = reduce_row(largest, Larger());
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        sum += exp(widen(z[k]) - largest);
        spread += widen(z[k]) - largest;
    }
    sum = reduce_row(sum, Sum());
    spread = reduce_row(spread, Sum());
    if (threadIdx.x > 0) return;
    long long label = labels[blockIdx.x];
    bool known = label >= 0 && label < classes;                  // else the loss is NaN, which training reports
    wide log_sum = log(sum), hit = known ? widen(z[label]) - largest - log_sum : NAN;
    top[blockIdx.x] = largest;
    lse[blockIdx.x] = log_sum;
    wide smooth = smoothing > 0 ? smoothing * (spread / classes - log_sum) : 0;     // a class of −∞ has a spread of −∞
    losses[blockIdx.x] = -((1 - smoothing) * hit + smooth);
}

// dz = (p − q) · scale,   p = e^(z − max z − lse),   q = (1 − ε) onehot + ε/K
extern "C" __global__ void cross_entropy_back(const real *__restrict__ logits, const long long *__restrict__ labels,
                                              const wide *__restrict__ top, const wide *__restrict__ lse,
                                              real *__restrict__ dz, int classes, wide smoothing, wide scale)
{
    long long row = (long long)blockIdx.x * classes;
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        wide p = exp(widen(logits[row + k]) - top[blockIdx.x] - lse[blockIdx.x]);
        wide q = smoothing / classes + (k == labels[blockIdx.x] ? 1 - smoothing : 0);
        dz[row + k] = narrow((p - q) * scale);
    }
}
