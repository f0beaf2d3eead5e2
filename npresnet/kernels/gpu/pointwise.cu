// One thread for each pack; `packs` of them are the channels of a pixel.

// y = max(x, 0)
extern "C" __global__ void relu(const Pack *__restrict__ x, Pack *__restrict__ y, int count)
{
    int number = thread_number();
    if (number >= count) return;
    Wides value = widen(x[number]);
    for (int k = 0; k < WIDTH; k++) value.v[k] = at_least(value.v[k], 0);
    y[number] = narrow(value);
}

// dx = dy · [y > 0]
extern "C" __global__ void relu_back(const Pack *__restrict__ y, const Pack *__restrict__ dy, Pack *__restrict__ dx,
                                     int count)
{
    int number = thread_number();
    if (number >= count) return;
    Wides value = widen(y[number]), gradient = widen(dy[number]);
    for (int k = 0; k < WIDTH; k++) gradient.v[k] = value.v[k] > 0 ? gradient.v[k] : 0;
    dx[number] = narrow(gradient);
}

// y = a + b
extern "C" __global__ void add(const Pack *__restrict__ a, const Pack *__restrict__ b, Pack *__restrict__ y,
                               int count)
{
    int number = thread_number();
    if (number >= count) return;
    Wides sum = widen(a[number]), other = widen(b[number]);
    for (int k = 0; k < WIDTH; k++) sum.v[k] += other.v[k];
    y[number] = narrow(sum);
}

// y[m, c] = max(scale[c] · x[m, c] + shift[c] + residual[m, c], floor): what follows a convolution, in one pass.
// x and y may be the same array; without `added` the residual is not read.
extern "C" __global__ void affine(const Pack *x, const wide *__restrict__ scale, const wide *__restrict__ shift,
                                  const Pack *residual, Pack *y, int count, int packs, int added, wide floor)
{
    int number = thread_number();
    if (number >= count) return;
    int pack = number % packs;
    Wides value = widen(x[number]), a = channels_of(scale, pack), b = channels_of(shift, pack), r = filled(0);
    if (added) r = widen(residual[number]);
    for (int k = 0; k < WIDTH; k++) value.v[k] = at_least(a.v[k] * value.v[k] + b.v[k] + r.v[k], floor);
    y[number] = narrow(value);
}

// g ← g + λ w     v ← μ v + g     w ← w − η v,   or with Nesterov   w ← w − η (g + μ v).   η is read from memory, so that
// a captured graph follows its schedule.  Without `moving` there is no v yet, and v ← g.
extern "C" __global__ void momentum_step(const Pack *__restrict__ w, const Pack *__restrict__ g,
                                         const Pack *__restrict__ v, const wide *__restrict__ rate,
                                         Pack *__restrict__ new_w, Pack *__restrict__ new_v, int count,
                                         int moving, int nesterov, wide momentum, wide decay)
{
    int number = thread_number();
    if (number >= count) return;
    Wides weight = widen(w[number]), gradient = widen(g[number]), velocity = filled(0);
    if (moving) velocity = widen(v[number]);
    for (int k = 0; k < WIDTH; k++) {
        gradient.v[k] += decay * weight.v[k];
        velocity.v[k] = momentum * velocity.v[k] + gradient.v[k];
        weight.v[k] -= rate[0] * (nesterov ? gradient.v[k] + momentum * velocity.v[k] : velocity.v[k]);
    }
    new_w[number] = narrow(weight);
    new_v[number] = narrow(velocity);
}

// running ← (1 − r) · running + r · batch,   the variance times c first
extern "C" __global__ void moving_statistics(const Pack *__restrict__ running_mean, const Pack *__restrict__ running_var,
                                             const Pack *__restrict__ mean, const Pack *__restrict__ var,
                                             Pack *__restrict__ new_mean, Pack *__restrict__ new_var, int count,
                                             wide r, wide c)
{
    int number = thread_number();
    if (number >= count) return;
    Wides m = widen(running_mean[number]), v = widen(running_var[number]), dm = widen(mean[number]);
    Wides dv = widen(var[number]);
    for (int k = 0; k < WIDTH; k++) {
        m.v[k] = (1 - r) * m.v[k] + r * dm.v[k];
        v.v[k] = (1 - r) * v.v[k] + r * (dv.v[k] * c);
    }
    new_mean[number] = narrow(m);
    new_var[number] = narrow(v);
}
