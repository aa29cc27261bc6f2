// Categorical return laws on a device: the Cramer projection, and one projected backup under a policy. The twins of
// distributional/categorical_kernels.py.
//
// One block per law, one lane per target atom (or several). A lane gathers: the places from which its atom gets mass
// are neighbours, found by bisection and walked, so that nothing is added by two lanes at once and sums have one order.
// Rows of laws are read by neighbouring lanes at neighbouring places. Sums run in another order than on the CPU, so
// results agree to rounding.

#ifndef ATOMS
#define ATOMS 51  // target atoms
#endif
#ifndef INDEX
#define INDEX int  // what counts pairs and transitions; long long where an int is too small
#endif

#define KERNEL extern "C" __global__ void __launch_bounds__(64)

constexpr unsigned THREADS = 64;
constexpr int LAST = ATOMS - 1, EACH = (ATOMS + 63) / 64;

// What a mass at x gives to atom m, between 0 and 1.
__device__ __forceinline__ double share(double x, int m, const double* z, const double* inverse_gap) {
    if (x >= z[m]) {
        const double up = m == LAST ? 0.0 : (x - z[m]) * inverse_gap[m];
        return up < 1.0 ? 1.0 - up : 0.0;
    }
    const double up = m == 0 ? 1.0 : (x - z[m - 1]) * inverse_gap[m - 1];
    return up < 1.0 ? up : 1.0;
}

// What atom m gets from masses at r + gamma * place[j], which rise with j.
__device__ __forceinline__ double gathered(const double* place, const double* mass, int n, double r, double gamma,
                                           int m, const double* z, const double* inverse_gap) {
    int first = 0, beyond = m == 0 ? 0 : n;
    while (first < beyond) {
        const int middle = (first + beyond) / 2;
        if (r + gamma * place[middle] > z[m - 1])
            beyond = middle;
        else
            first = middle + 1;
    }
    double sum = 0.0;
    for (int j = first; j < n; ++j) {
        const double x = r + gamma * place[j];
        if (m < LAST && x >= z[m + 1]) break;
        sum += mass[j] * share(x, m, z, inverse_gap);
    }
    return sum;
}

// Law i has `n` masses from mass[i * n] on, at rising places: beside them, or one list for all where shared is not 0.
KERNEL project(const double* place, const double* mass, long long n, int shared, const double* atoms,
               const double* inverse_gap, double* out, unsigned laws) {
    __shared__ double z[ATOMS];
    for (int m = threadIdx.x; m < ATOMS; m += THREADS) z[m] = atoms[m];
    __syncthreads();
    for (unsigned i = blockIdx.x; i < laws; i += gridDim.x) {
        const double* own = mass + i * n;
        const double* at = shared ? place : place + i * n;
        for (int m = threadIdx.x; m < ATOMS; m += THREADS)
            out[static_cast<long long>(i) * ATOMS + m] =
                gathered(at, own, static_cast<int>(n), 0.0, 1.0, m, z, inverse_gap);
    }
}

// reward: one per transition where varies is not 0, else not read. weight: one probability per pair.
KERNEL evaluation_sweep(const INDEX* state_ptr, const INDEX* row_ptr, const INDEX* continuing_end,
                        const int* next_state, const double* probability, const double* expected_reward,
                        const double* reward, int varies, const double* weight, double gamma, const double* laws,
                        const double* atoms, const double* inverse_gap, double* out, unsigned states) {
    __shared__ double z[ATOMS];
    __shared__ double mixed[ATOMS];
    for (int m = threadIdx.x; m < ATOMS; m += THREADS) z[m] = atoms[m];
    __syncthreads();
    for (unsigned s = blockIdx.x; s < states; s += gridDim.x) {
        double own[EACH], total = 0.0;
        for (int e = 0; e < EACH; ++e) own[e] = 0.0;
        for (INDEX i = state_ptr[s]; i < state_ptr[s + 1]; ++i) {
            const double w = weight[i];
            if (!(w > 0.0)) continue;
            const INDEX ends = continuing_end[i], row_end = row_ptr[i + 1];
            for (INDEX q = row_ptr[i]; q < row_end;) {
                const double r = varies ? reward[q] : expected_reward[i];
                const bool goes_on = q < ends;
                const INDEX stop = goes_on ? ends : row_end;
                INDEX end = varies ? q + 1 : stop;
                while (end < stop && reward[end] == r) ++end;
                double mass = 0.0;
                for (INDEX n = q; n < end; ++n) mass += w * probability[n];
                total += mass;
                if (goes_on) {
                    __syncthreads();  // others may still read what was mixed before
                    for (int m = threadIdx.x; m < ATOMS; m += THREADS) {
                        double sum = 0.0;
                        for (INDEX n = q; n < end; ++n)
                            sum += w * probability[n] * laws[static_cast<long long>(next_state[n]) * ATOMS + m];
                        mixed[m] = sum;
                    }
                    __syncthreads();
                }
                for (int e = 0; e < EACH; ++e) {
                    const int m = threadIdx.x + e * THREADS;
                    if (m >= ATOMS) break;
                    if (goes_on)
                        own[e] += gathered(z, mixed, ATOMS, r, gamma, m, z, inverse_gap);
                    else if ((m == 0 || r > z[m - 1]) && (m == LAST || r < z[m + 1]))
                        own[e] += mass * share(r, m, z, inverse_gap);
                }
                q = end;
            }
        }
        for (int e = 0; e < EACH; ++e) {
            const int m = threadIdx.x + e * THREADS;
            if (m < ATOMS) out[static_cast<long long>(s) * ATOMS + m] = own[e] / total;
        }
    }
}
