// Pooling: one thread for each output (forwards) or pixel (backwards) and pack of channels.

// y[n, p, q, c] = max_{i,j} x[n, p·sh + i·dh − top, q·sw + j·dw − left, c], and the tap that won: the first of equals,
// a NaN over numbers.  Padding is −∞ and never wins.
extern "C" __global__ void max_pool(const Pack *__restrict__ x, Pack *__restrict__ y, Bytes *__restrict__ winner,
                                    int count, int packs, int height, int width, int oh, int ow, int kh, int kw,
                                    int sh, int sw, int dh, int dw, int top, int left)
{
    int number = thread_number();
    if (number >= count) return;
    int pack = number % packs, row = number / packs, q = row % ow, p = row / ow % oh, n = row / ow / oh;
    const Pack *image = x + (long long)n * height * width * packs + pack;
    Wides best = filled(-INFINITY);
    Bytes won;
    for (int k = 0; k < WIDTH; k++) won.v[k] = 0;
    for (int i = 0; i < kh; i++) {
        int r = p * sh + i * dh - top;
        if (r < 0 || r >= height) continue;
        for (int j = 0; j < kw; j++) {
            int s = q * sw + j * dw - left;
            if (s < 0 || s >= width) continue;
            Wides value = widen(image[(r * width + s) * packs]);
            for (int k = 0; k < WIDTH; k++)
                if (value.v[k] > best.v[k] || value.v[k] != value.v[k]) best.v[k] = value.v[k], won.v[k] = i * kw + j;
        }
    }
    y[number] = narrow(best);
    winner[number] = won;
}

// dx[n, r, s, c] = Σ dy[n, p, q, c] over the windows (p, q) whose winner is the tap that covers pixel (r, s).
extern "C" __global__ void max_pool_back(const Pack *__restrict__ dy, const Bytes *__restrict__ winner,
                                         Pack *__restrict__ dx, int count, int packs, int height, int width,
                                         int oh, int ow, int kh, int kw, int sh, int sw, int dh, int dw, int top,
                                         int left)
{
    int number = thread_number();
    if (number >= count) return;
    int pack = number % packs, pixel = number / packs, s = pixel % width, r = pixel / width % height;
    int n = pixel / width / height;
    Wides sum = filled(0);
    for (int i = 0; i < kh; i++) {
        int down = r + top - i * dh;                            // = p·sh
        if (down < 0 || down % sh || down / sh >= oh) continue;
        for (int j = 0; j < kw; j++) {
            int along = s + left - j * dw;                      // = q·sw
            if (along < 0 || along % sw || along / sw >= ow) continue;
            long long at = (((long long)n * oh + down / sh) * ow + along / sw) * packs + pack;
            Bytes won = winner[at];
            Wides share = widen(dy[at]);
            for (int k = 0; k < WIDTH; k++) sum.v[k] += won.v[k] == i * kw + j ? share.v[k] : 0;
        }
    }
    dx[number] = narrow(sum);
}

// y[n, p, q, c] = 1/m[p, q] · Σ_{i,j} x[n, p·sh + i − top, q·sw + j − left, c]; padding counts as 0.
extern "C" __global__ void avg_pool(const Pack *__restrict__ x, const real *__restrict__ m, Pack *__restrict__ y,
                                    int count, int packs, int height, int width, int oh, int ow, int kh, int kw,
                                    int sh, int sw, int top, int left)
{
    int number = thread_number();
    if (number >= count) return;
    int pack = number % packs, row = number / packs, q = row % ow, p = row / ow % oh, n = row / ow / oh;
    const Pack *image = x + (long long)n * height * width * packs + pack;
    Wides sum = filled(0);
    for (int i = 0; i < kh; i++) {
        int r = p * sh + i - top;
        if (r < 0 || r >= height) continue;
        for (int j = 0; j < kw; j++) {
            int s = q * sw + j - left;
            if (s < 0 || s >= width) continue;
            Wides value = widen(image[(r * width + s) * packs]);
            for (int k = 0; k < WIDTH; k++) sum.v[k] += value.v[k];
        }
    }
    for (int k = 0; k < WIDTH; k++) sum.v[k] /= widen(m[p * ow + q]);
    y[number] = narrow(sum);
}

// dx[n, r, s, c] = Σ dy[n, p, q, c] / m[p, q] over the windows that cover pixel (r, s).
extern "C" __global__ void avg_pool_back(const Pack *__restrict__ dy, const real *__restrict__ m,
                                         Pack *__restrict__ dx, int count, int packs, int height, int width,
                                         int oh, int ow, int kh, int kw, int sh, int sw, int top, int left)
{
    int number = thread_number();
    if (number >= count) return;
    int pack = number % packs, pixel = number / packs, s = pixel % width, r = pixel / width % height;
    int n = pixel / width / height;
    Wides sum = filled(0);
    for (int i = 0; i < kh; i++) {
        int down = r + top - i;
        if (down < 0 || down % sh || down / sh >= oh) continue;
        for (int j = 0; j < kw; j++) {
            int along = s + left - j;
            if (along < 0 || along % sw || along / sw >= ow) continue;
            int p = down / sh, q = along / sw;
            Wides share = widen(dy[(((long long)n * oh + p) * ow + q) * packs + pack]);
            for (int k = 0; k < WIDTH; k++) sum.v[k] += share.v[k] / widen(m[p * ow + q]);
        }
    }
    dx[number] = narrow(sum);
}

// y[n, c] = mean over the pixels of x[n, ·, c].
extern "C" __global__ void global_mean(const Pack *__restrict__ x, Pack *__restrict__ y, int count, int packs,
                                       int pixels)
{
    int number = thread_number();
    if (number >= count) return;
    const Pack *first = x + (long long)(number / packs) * pixels * packs + number % packs;
    Wides sum = filled(0);
#pragma unroll 4
    for (int i = 0; i < pixels; i++) {
        Wides value = widen(first[(long long)i * packs]);
        for (int k = 0; k < WIDTH; k++) sum.v[k] += value.v[k];
    }
    for (int k = 0; k < WIDTH; k++) sum.v[k] /= pixels;
    y[number] = narrow(sum);
}
