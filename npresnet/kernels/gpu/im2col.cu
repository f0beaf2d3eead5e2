// Columns of a convolution, and back.  Tap (i, j) of window (p, q) covers pixel (p·sh + i·dh − top, q·sw + j·dw − left).

// X~[m, g, (i, j), c] = x[n, p·sh + i·dh − top, q·sw + j·dw − left, g, c] for row m = (n, p, q); 0 in the padding.
// One thread for each row and pack of channels: it carries its channels through all taps.
extern "C" __global__ void im2col(const Pack *__restrict__ x, Pack *__restrict__ cols, int count, int packs,
                                  int group_packs, int height, int width, int oh, int ow, int kh, int kw, int sh,
                                  int sw, int dh, int dw, int top, int left)
{
    int number = thread_number();
    if (number >= count) return;
    int pack = number % packs, row = number / packs, q = row % ow, p = row / ow % oh, n = row / ow / oh;
    int group = pack / group_packs;
    const Pack *image = x + (long long)n * height * width * packs + pack;
    Pack *out = cols + ((long long)row * packs + group * group_packs) * kh * kw + pack % group_packs;
    for (int i = 0; i < kh; i++) {
        int r = p * sh + i * dh - top;
#pragma unroll 3
        for (int j = 0; j < kw; j++, out += group_packs) {
            int s = q * sw + j * dw - left;
            bool inside = r >= 0 && r < height && s >= 0 && s < width;
            *out = inside ? image[(r * width + s) * packs] : narrow(filled(0));
        }
    }
}

// dx[n, r, s, g, c] = Σ dX~[(n, p, q), g, (i, j), c] over the taps (i, j) and windows (p, q) that cover pixel (r, s):
// the transpose of im2col, gathered, so that no two threads add to the same place.
extern "C" __global__ void col2im(const Pack *__restrict__ cols, Pack *__restrict__ dx, int count, int packs,
                                  int group_packs, int height, int width, int oh, int ow, int kh, int kw, int sh,
                                  int sw, int dh, int dw, int top, int left)
{
    int number = thread_number();
    if (number >= count) return;
    int pack = number % packs, pixel = number / packs, s = pixel % width, r = pixel / width % height;
    int n = pixel / width / height, group = pack / group_packs;
    const Pack *first = cols + group * group_packs * kh * kw + pack % group_packs;
    Wides sum = filled(0);
    for (int i = 0; i < kh; i++) {
        int down = r + top - i * dh;                            // = p·sh
        if (down < 0 || down % sh || down / sh >= oh) continue;
        for (int j = 0; j < kw; j++) {
            int along = s + left - j * dw;                      // = q·sw
            if (along < 0 || along % sw || along / sw >= ow) continue;
            long long row = ((long long)n * oh + down / sh) * ow + along / sw;
            Wides value = widen(first[row * packs * kh * kw + (i * kw + j) * group_packs]);
            for (int k = 0; k < WIDTH; k++) sum.v[k] += value.v[k];
        }
    }
    dx[number] = narrow(sum);
}
